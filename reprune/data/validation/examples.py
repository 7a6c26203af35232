"""Reading a split example by example, bounded and reproducible."""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from reprune.config import entry_points
from reprune.errors import InputError

LIMIT = 10_000
"""Most examples of a split that are looked at: evenly spaced ones, or the first ones of an iterable."""

Example = tuple[int, Any, Any]
"""Index in its split, input, target."""


def examples(dataset: Any, split: str, *, limit: int = LIMIT) -> Iterator[Example]:
    """Yield a bounded, evenly spaced choice of a split's examples.

    Random augmentation is drawn from a fixed seed, and the generators are put back afterwards.

    Raises:
        InputError: An example cannot be read, or is not ``(input, target)``.
    """
    source = _mapped(dataset, limit) if _is_mapped(dataset) else islice(_streamed(dataset), limit)
    read = 0
    with _seeded():
        while True:
            try:
                index, pair = next(source)
            except StopIteration:
                return
            except Exception as error:
                raise InputError(
                    f"data: {split} raised {entry_points.describe(error)} after {read} examples were read.",
                    "Mend the dataset.",
                ) from error
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                raise InputError(
                    f"data: example {index} of {split} is a {type(pair).__name__}, not (input, target).", "Yield pairs."
                )
            yield index, pair[0], pair[1]
            read += 1


def total(dataset: Any) -> int | None:
    """Return how many examples a dataset has, or None where only reading it would tell."""
    if isinstance(dataset, DataLoader):
        dataset = dataset.dataset
    return len(dataset) if isinstance(dataset, Sized) else None


def leaves(value: Any, name: str, *, where: str) -> dict[str, Tensor]:
    """Return one example's input or target as named tensors.

    Raises:
        InputError: Something in it is no number.
    """
    if isinstance(value, Mapping):
        named = {str(key): item for key, item in value.items()}
    elif isinstance(value, (tuple, list)):
        named = {f"{name}_{i}": item for i, item in enumerate(value)}
    else:
        named = {name: value}
    return {key: _tensor(item, key, where=where) for key, item in named.items()}


def _tensor(value: Any, key: str, *, where: str) -> Tensor:
    if torch.is_tensor(value):
        return value.detach().cpu()
    if isinstance(value, (bool, int, float, np.ndarray, np.generic)):
        with contextlib.suppress(TypeError):
            return torch.as_tensor(value)
    raise InputError(
        f"data: {where} has a {type(value).__name__} as {key}; only tensors and numbers can be learnt from.",
        "Convert it in the dataset.",
    )


def _is_mapped(dataset: Any) -> bool:
    return not isinstance(dataset, DataLoader) and hasattr(dataset, "__getitem__") and isinstance(dataset, Sized)


def _mapped(dataset: Any, limit: int) -> Iterator[tuple[int, Any]]:
    count = len(dataset)
    chosen = range(count) if count <= limit else np.linspace(0, count - 1, limit).astype(int).tolist()
    for index in chosen:
        yield index, dataset[index]


def _streamed(dataset: Any) -> Iterator[tuple[int, Any]]:
    """Take the batches of a DataLoader apart; an iterable dataset yields examples itself."""
    if not isinstance(dataset, DataLoader):
        yield from enumerate(dataset)
        return
    index = 0
    for inputs, targets in dataset:
        for row in range(len(targets)):
            yield index, (_row(inputs, row), _row(targets, row))
            index += 1


def _row(batch: Any, row: int) -> Any:
    if isinstance(batch, Mapping):
        return {key: value[row] for key, value in batch.items()}
    return tuple(value[row] for value in batch) if isinstance(batch, (tuple, list)) else batch[row]


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
