"""What a model is for: its loss, and the score of each example that "accuracy" is the mean of."""

from typing import Any, Protocol, runtime_checkable

import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from reprune.config import entry_points
from reprune.config.workload import Evaluation
from reprune.data import scoring
from reprune.data.datasets import Data
from reprune.data.scoring import IGNORED_TOKEN, per_sequence
from reprune.errors import InputError


@runtime_checkable
class Task(Protocol):
    """What reprune asks of a task. All functions keep one row per example."""

    metric: str
    """Name of the mean score, for tables: ``accuracy``, ``R²`` ..."""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the training loss of each example, ``[N]``, differentiable."""

    def score(self, outputs: Any, targets: Any) -> Tensor:
        """Return the score of each example, ``[N]``, higher is better; its mean is the metric."""

    def signals(self, outputs: Any) -> dict[str, NDArray[Any]]:
        """Return what drift of predictions is watched on: named numbers, ``[N]`` each; integers are categories.

        Args:
            outputs: What the ONNX model returns: an array, or several.
        """

    def check(self, outputs: Any, targets: Any) -> None:
        """Raise InputError when outputs and targets do not belong to this task."""


class Classification(scoring.Classification):
    """Outputs are logits ``[N, C]``, targets are classes ``[N]`` from 0 to C-1."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each example, ``[N]``."""
        return F.cross_entropy(outputs, targets.long(), reduction="none")


class Regression(scoring.Regression):
    """Outputs and targets are ``[N]`` or ``[N, D]``; scores are relative to the variance of the targets."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of each example, ``[N]``."""
        wanted = targets.reshape(len(targets), -1).to(outputs.dtype)
        return (outputs.reshape(len(outputs), -1) - wanted).square().mean(dim=1)


class LanguageModeling(scoring.LanguageModeling):
    """Outputs are logits ``[N, T, V]``, targets are the next tokens ``[N, T]``; -100 marks tokens to leave out."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy per token of each sequence, in nats, ``[N]``."""
        tokens = F.cross_entropy(outputs.transpose(1, 2), targets.long(), reduction="none", ignore_index=IGNORED_TOKEN)
        loss: Tensor = per_sequence(tokens, targets)
        return loss


_TASKS = {"classification": Classification, "regression": Regression, "language-modeling": LanguageModeling}


def find(name: str) -> Task:
    """Return a task by its name, or the user's own by its entry point."""
    if name in _TASKS:
        return _TASKS[name]()
    task = entry_points.resolve(name, key="task")
    task = task() if isinstance(task, type) else task
    if not isinstance(task, Task):
        raise InputError(
            f"task: {name!r} has no `metric`, `loss`, `score` and `check`.",
            "See reprune.data.tasks.Task for what a task is.",
        )
    return task


def of(evaluation: Evaluation, data: Data, *, split: str = "test") -> Task:
    """Return the task that is asked for; regression is scored relative to the variance of a split's targets."""
    task = find(evaluation.task)
    if isinstance(task, Regression):
        task.variance = scoring.target_variance(data, split)
    return task
