"""Labels, and which of them live and die together.

Every index of every prunable dimension carries a label, an integer. Operators that need two dimensions alike unite
their labels; operators that cannot lose an index freeze its label. Both are only recorded here; one pass of connected
components at the end gives the classes, so the whole costs as much as there are indices.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Labels = NDArray[np.int64]


@dataclass
class Couplings:
    """A union-find over labels, solved in one pass, and the reasons why some labels must stay."""

    count: int = 0
    _left: list[Labels] = field(default_factory=list)
    _right: list[Labels] = field(default_factory=list)
    _frozen: list[tuple[Labels, str]] = field(default_factory=list)

    def fresh(self, size: int) -> Labels:
        """Return `size` labels that nothing else carries."""
        labels = np.arange(self.count, self.count + size, dtype=np.int64)
        self.count += size
        return labels

    def unite(self, left: Labels, right: Labels) -> None:
        """Let the labels of two arrays, broadcast against each other, live and die together."""
        left, right = np.broadcast_arrays(left, right)
        self._left.append(left.reshape(-1))
        self._right.append(right.reshape(-1))

    def unite_along(self, grid: Labels, axis: int) -> None:
        """Let all labels along an axis of a grid live and die together."""
        first = np.take(grid, [0], axis=axis)
        if grid.shape[axis] > 1:
            self.unite(np.delete(grid, 0, axis=axis), first)

    def freeze(self, labels: Labels, reason: str) -> None:
        """Keep labels for ever, because of `reason`."""
        self._frozen.append((np.unique(labels), reason))

    def mark(self) -> tuple[int, int]:
        """Return a point to which `rollback` can return."""
        return len(self._left), len(self._frozen)

    def rollback(self, mark: tuple[int, int]) -> None:
        """Forget what was recorded since a mark."""
        del self._left[mark[0] :], self._right[mark[0] :], self._frozen[mark[1] :]

    def classes(self) -> Labels:
        """Return the class of each label, shape `[count]`."""
        empty = np.empty(0, dtype=np.int64)
        left, right = np.concatenate([empty, *self._left]), np.concatenate([empty, *self._right])
        edges = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(self.count, self.count))
        return connected_components(edges, directed=False)[1].astype(np.int64)

    def reasons(self, classes: Labels) -> dict[int, str]:
        """Return the frozen classes, each with the first reason that froze it."""
        first = np.full(int(classes.max(initial=-1)) + 1, -1, dtype=np.int64)
        for order, (labels, _) in reversed(list(enumerate(self._frozen))):
            first[classes[labels]] = order
        frozen = np.flatnonzero(first >= 0)
        return {each: self._frozen[order][1] for each, order in zip(frozen.tolist(), first[frozen], strict=True)}
