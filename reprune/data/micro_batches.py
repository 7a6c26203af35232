"""Parts of a collated batch."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from reprune.data.datasets import Batch, count


def split(batch: Batch, size: int | None, least: int) -> Iterator[Batch]:
    """Yield a batch in pieces of almost the same size.

    Args:
        batch: Inputs and targets, collated.
        size: Most examples of a piece; None for one piece.
        least: Fewest examples of a piece, where the batch has them.
    """
    examples = count(batch[0])
    pieces = 1 if size is None else min(math.ceil(examples / size), max(examples // least, 1))
    for number in range(pieces):
        yield take(batch, slice(examples * number // pieces, examples * (number + 1) // pieces))


def take(value: Any, examples: slice) -> Any:
    """Return a slice of the examples in collated tensors, tuples, lists and dicts."""
    if isinstance(value, Mapping):
        return {key: take(item, examples) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(take(item, examples) for item in value)
    return value[examples]
