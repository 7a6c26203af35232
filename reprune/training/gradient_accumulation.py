"""One step of the optimizer over one batch, in as many pieces as memory asks for."""

import contextlib
import gc
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from reprune.data.datasets import count
from reprune.data.micro_batches import split
from reprune.data.model_io import call
from reprune.errors import StepError, first_line
from reprune.training import frozen_batchnorm
from reprune.training.autocast import Precision, autocast
from reprune.training.divergence import Diverged
from reprune.training.process_group import Group

Loss = Callable[[Any, Any, Any], Tensor]
"""``(outputs, targets, inputs) -> [N]``, the loss of each example."""


class MemoryExhausted(Exception):
    """So many examples at once were too many."""

    def __init__(self, tried: int, reason: str) -> None:
        super().__init__(reason)
        self.tried = tried
        self.reason = reason


class Stepper:
    """Takes steps with the gradient of whole batches, computed piece by piece where they are too large at once.

    Gradients are weighted by examples, so the step is that of the whole batch, however it was cut and shared. (Batch
    normalization alone sees a difference: its statistics are those of a piece.)

    Args:
        model: The model, wrapped for its group.
        loss: Gives the loss of each example.
        optimizer: Of the model's parameters.
        clip_norm: Largest norm of the gradient, if any.
        micro_batch: Most examples of a piece; None for whole batches.
        precision: What the forward pass computes in.
        group: The processes that share each batch.
        on_halved: Called with a sentence when memory ran out and the pieces became smaller.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float | None,
        micro_batch: int | None,
        precision: Precision,
        group: Group,
        on_halved: Callable[[str], None],
    ) -> None:
        self.micro_batch = micro_batch
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._precision = precision
        self._group = group
        self._on_halved = on_halved
        self._least = 2 if frozen_batchnorm.norms(model) else 1

    def step(self, inputs: Any, targets: Any, total: int) -> float:
        """Take a step and return the mean loss of the whole batch.

        Args:
            inputs: This process's share of the batch, collated.
            targets: Likewise.
            total: Examples of the whole batch.

        Raises:
            Diverged: The loss or the gradient is not finite; no step was taken.
            StepError: Not even the smallest piece fits into memory.
        MemoryExhausted: Memory ran out in one of several processes.
        """
        while True:
            try:
                return self._attempt(inputs, targets, total)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            self._halve(count(inputs), reason)  # out here, where the error's frames no longer hold the memory

    def _attempt(self, inputs: Any, targets: Any, total: int) -> float:
        self._optimizer.zero_grad(set_to_none=True)
        summed = 0.0
        pieces = list(split((inputs, targets), self.micro_batch, self._least))
        statistics = frozen_batchnorm.running_statistics(self._model) if total == 1 else contextlib.nullcontext()
        with statistics:
            for number, (x, y) in enumerate(pieces, start=1):
                last = number == len(pieces)
                with self._group.syncing(self._model, last), autocast(self._precision):
                    mean = self._loss(call(self._model, x), y, x).mean()
                    share = mean * (count(x) * self._group.size / total)
                    share.backward()  # type: ignore[no-untyped-call]
                summed += mean.item() * count(x)
        loss = float(self._group.sum(torch.tensor(summed, dtype=torch.float64))) / total
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss}")
        if self._clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm).item()
            if not math.isfinite(norm):
                raise Diverged(f"the norm of the gradient became {norm}")
        self._optimizer.step()
        return loss

    def _halve(self, examples: int, reason: str) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        gc.collect()
        exhausted = MemoryExhausted(min(self.micro_batch or examples, examples), reason)
        if self._group.size > 1:
            raise exhausted  # the others wait in the middle of this step: all must begin anew
        self.micro_batch, text = halved(exhausted, self._least)
        self._on_halved(text)


def halved(exhausted: MemoryExhausted, least: int) -> tuple[int, str]:
    """Return the size of smaller pieces, and a sentence about it.

    Raises:
        StepError: The pieces were of the least size already.
    """
    tried = exhausted.tried
    if tried <= least:
        raise StepError(
            f"Memory ran out on {tried} {'example' if tried == 1 else 'examples'} at once: {exhausted.reason}",
            "Give the step more memory, or make the model or its inputs smaller.",
        )
    smaller = max(tried // 2, least)
    return smaller, f"memory ran out on {tried} examples at once; batches are computed {smaller} at a time from here"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on an accelerator or on the CPU."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in text or "out of memory" in text
