"""Learning from the dense model's own outputs (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprune.data.model_io import call
from reprune.data.tasks import Classification, LanguageModeling, Task
from reprune.training.similarity_distillation import Relations

TEMPERATURE, TEMPERATURE_OF_TEXT = 2.0, 1.0
"""Classes that a teacher is sure of tell more once they are softened. Of the next token it is seldom sure, and softened
further it says less (docs/benchmarks/recovery.md)."""


class Distillation:
    """A training loss that mixes the task's own with the distance to a teacher's outputs.

    Args:
        task: Gives the loss on the labels.
        teacher: The dense model; left in eval mode and without gradients.
        weight: Share of the teacher's term, 0 to 1.
        temperature: Softening of the logits of both, where the task has logits; by default what suits the task.
        relations: A further term over hidden states of both, added with its own weight.
    """

    def __init__(
        self,
        task: Task,
        teacher: nn.Module,
        *,
        weight: float,
        temperature: float | None = None,
        relations: Relations | None = None,
    ) -> None:
        self._task = task
        self._teacher = teacher.eval().requires_grad_(False)
        self._weight = weight
        self._temperature = temperature or (TEMPERATURE_OF_TEXT if isinstance(task, LanguageModeling) else TEMPERATURE)
        self._relations = relations

    def __call__(self, outputs: Any, targets: Any, inputs: Any) -> Tensor:
        """Return the loss of each example, ``[N]``."""
        hard = self._task.loss(outputs, targets)
        by_outputs = self._weight > 0 and torch.is_tensor(outputs)
        if not by_outputs and self._relations is None:
            return hard
        with torch.no_grad():
            taught = call(self._teacher, inputs)
        loss = (1 - self._weight) * hard + self._weight * self._distance(outputs, taught) if by_outputs else hard
        return loss + self._relations.loss() if self._relations else loss

    def _distance(self, outputs: Tensor, taught: Tensor) -> Tensor:
        if not isinstance(self._task, (Classification, LanguageModeling)):
            return (outputs - taught).square().reshape(len(outputs), -1).mean(dim=1)
        t = self._temperature
        divergence = F.kl_div(
            (outputs / t).log_softmax(-1), (taught / t).log_softmax(-1), reduction="none", log_target=True
        )
        per_position: Tensor = divergence.sum(dim=-1) * t * t
        return per_position.reshape(len(outputs), -1).mean(dim=1)
