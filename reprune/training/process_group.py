"""The processes that share each batch of a training, and how they agree; a single process is a group of one."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from reprune.data.datasets import Batch
from reprune.errors import StepError
from reprune.training import rng
from reprune.training.frozen_batchnorm import synchronize
from reprune.training.sharding import Slices, shard

SEED_APART = 7_919
"""Distance between the seeds of two processes."""


class Group:
    """A process that trains alone."""

    rank = 0
    size = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model as it is to be called, so that gradients become those of the whole batch."""
        return model

    def share(self, batches: Iterable[Batch], seed: int) -> Iterable[Batch]:
        """Return this process's share of each batch; called when everything random stands at the seed of the epoch."""
        return batches

    def total(self, examples: int) -> int:
        """Return the examples of all processes."""
        return examples

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set in any process."""
        return flags

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return value

    def gather(self, value: Tensor) -> list[Tensor]:
        """Return a tensor of each process, by rank."""
        return [value]

    def require_same(self, *numbers: int) -> None:
        """Make sure that all processes hold the same numbers."""

    def syncing(self, model: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Return the context of one piece of a batch; gradients are exchanged on the last."""
        return nullcontext()


class Processes(Group):
    """One of the processes that `torch.distributed.run` started."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        # Of their own, so that the collectives of a backward pass cannot be taken for those of the gradients
        self._statistics = dist.new_group()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model for data-parallel training; batch normalization sees whole batches."""
        synchronize(model, self._statistics)
        return DistributedDataParallel(model, find_unused_parameters=True)

    def share(self, batches: Iterable[Batch], seed: int) -> Iterable[Batch]:
        """Return a loader of this process's examples, or where there can be none, slices of what all load."""
        if isinstance(batches, DataLoader) and batches.batch_sampler is not None:
            sharded = shard(batches, self.rank, self.size)
            rng.seed_everything(seed + SEED_APART * self.rank)
            return sharded
        return Slices(batches, self.rank, self.size)

    def total(self, examples: int) -> int:
        """Return the examples of all processes."""
        return int(self.sum(torch.tensor(examples)))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set in any process."""
        return tuple(bool(flag) for flag in self.sum(torch.tensor(flags, dtype=torch.int32)))

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        summed = value.clone()
        dist.all_reduce(summed)
        return summed

    def gather(self, value: Tensor) -> list[Tensor]:
        """Return a tensor of each process, by rank."""
        gathered = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(gathered, value)
        return gathered

    def require_same(self, *numbers: int) -> None:
        """Make sure that all processes hold the same numbers."""
        found = self.gather(torch.tensor(numbers))
        if any(not torch.equal(other, found[0]) for other in found):
            raise StepError(
                "The processes of one training took up different checkpoints.",
                "Give them a store that all of them see in the same state, and run again.",
            )

    def syncing(self, model: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Return the context of one piece of a batch; gradients are exchanged on the last."""
        assert isinstance(model, DistributedDataParallel)
        return nullcontext() if last else model.no_sync()


def current() -> Group:
    """Return the group that this process is in."""
    return Processes() if dist.is_available() and dist.is_initialized() else Group()
