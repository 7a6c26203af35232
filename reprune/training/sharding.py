"""Each process's share of each batch, so that together they train on the batches of a single process."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

from reprune.data.datasets import Batch, count
from reprune.data.micro_batches import take


def shard(loader: DataLoader[Any], rank: int, size: int) -> DataLoader[Any]:
    """Return a loader of one process's examples.

    The order is drawn here and now, so all processes must stand at the same seed.

    Args:
        loader: A loader of a map-style dataset in batches.
        rank: Which of the processes this is.
        size: How many there are.
    """
    options = {
        name: getattr(loader, name)
        for name in ("collate_fn", "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context")
    }
    # A loader's own iterator draws the seed of its workers first, so without this the order would be another
    torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
    batches = cast("Iterable[list[int]]", loader.batch_sampler)
    return DataLoader(loader.dataset, batch_sampler=shares(batches, rank, size), **options)


def shares(batches: Iterable[list[int]], rank: int, size: int) -> list[list[int]]:
    """Return one process's indices of each batch.

    A last batch with fewer examples than there are processes joins the one before it: each process must have work, and
    batch normalization more than one example.
    """
    whole = [list(batch) for batch in batches]
    if len(whole) > 1 and len(whole[-1]) < size:
        last = whole.pop()
        whole[-1] += last
    return [batch[rank::size] or batch for batch in whole]


class Slices:
    """Slices of batches that every process loads as a whole, in the same order: for data that has no indices.

    Args:
        batches: The batches.
        rank: Which of the processes this is.
        size: How many there are.
    """

    def __init__(self, batches: Iterable[Batch], rank: int, size: int) -> None:
        self._batches = batches
        self._rank = rank
        self._size = size

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            yield take(batch, slice(self._rank, None, self._size)) if count(batch[0]) >= self._size else batch
