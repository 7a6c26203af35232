"""The processes that share each batch of a training, and how they agree; a single process is a group of one."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from reprune.data import Batch


class Group:
    """A process that trains alone."""

    rank = 0
    size = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model as it is to be called, so that gradients become those of all processes."""
        return model

    def share(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        """Return this process's share of each batch."""
        return batches

    def total(self, examples: int) -> int:
        """Return the examples of all processes."""
        return examples

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
        return flag

    def gather(self, value: Tensor) -> list[Tensor]:
        """Return a tensor of each process, by rank."""
        return [value]

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return value

    def syncing(self, model: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Return the context of one piece of a batch; gradients are exchanged on the last."""
        return nullcontext()
