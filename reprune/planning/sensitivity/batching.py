"""Examples in batches of one shape."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from reprune.data.datasets import count
from reprune.data.model_io import Inputs

Batch = tuple[Inputs, Any]


@dataclass(frozen=True)
class Chunk:
    """A batch filled up to a fixed number of examples by repeating the last."""

    inputs: Any
    targets: Any
    size: int
    """Examples before it was filled up; as many targets there are."""

    def real(self, outputs: Any) -> Any:
        """Return the outputs of the examples that are not repeated."""
        whole = count(self.inputs)

        def crop(leaf: Any) -> Any:
            batched = isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == whole
            return leaf[: self.size] if batched else leaf

        return outputs if self.size == whole else pytree.tree_map(crop, outputs)


def chunks(batches: Iterable[Batch], size: int, order: Sequence[int] | None = None) -> list[Chunk]:
    """Return all examples in chunks of a size, in a given order.

    Args:
        batches: Inputs and targets, each tensor with examples along its first dimension.
        size: Examples of a chunk.
        order: Numbers of the examples to take; by default all, as they come.
    """
    pairs = list(batches)
    inputs, targets = (pytree.tree_map(lambda *parts: _joined(parts), *side) for side in zip(*pairs, strict=True))
    numbers = list(range(count(inputs)) if order is None else order)
    found = []
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        filled = part + part[-1:] * (size - len(part))
        found.append(Chunk(_taken(inputs, filled), _taken(targets, part), len(part)))
    return found


def _joined(parts: Sequence[Any]) -> Any:
    return torch.cat(list(parts)) if isinstance(parts[0], Tensor) else parts[0]


def _taken(tree: Any, numbers: list[int]) -> Any:
    return pytree.tree_map(lambda leaf: leaf[numbers] if isinstance(leaf, Tensor) else leaf, tree)
