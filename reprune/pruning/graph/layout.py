"""Where the labels sit in a tensor.

A dimension of a tensor is *live* when a factor covers it, *uniform* when all its indices hold the same values (it was
broadcast), and fixed otherwise. A factor usually covers one dimension. After a view has split a dimension it covers
several, jointly: the element at ``(h, d)`` goes when the label ``grid[h, d]`` goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from reprune.pruning.graph.union_find import Labels


@dataclass(frozen=True, eq=False)
class Factor:
    """A grid of labels over some dimensions of a tensor, ascending, one axis each."""

    dims: tuple[int, ...]
    grid: Labels

    @classmethod
    def over(cls, dims: Sequence[int], grid: Labels) -> "Factor":
        """Make a factor of dimensions in any order."""
        order = np.argsort(dims, kind="stable")
        return cls(tuple(dims[i] for i in order), np.transpose(grid, order))

    def axis(self, dim: int) -> int:
        """Return the axis of the grid that covers a dimension."""
        return self.dims.index(dim)

    def without(self, dim: int) -> "Factor | None":
        """Return the factor with one dimension dropped, at its first index; None when it covered no other."""
        if len(self.dims) == 1:
            return None
        axis = self.axis(dim)
        return Factor(tuple(d for d in self.dims if d != dim), np.take(self.grid, 0, axis=axis))


@dataclass(frozen=True, eq=False)
class Layout:
    """The shape of a tensor and the factors that cover its live dimensions, at most one a dimension."""

    shape: tuple[int, ...]
    factors: tuple[Factor, ...] = ()
    uniform: frozenset[int] = frozenset()

    def factor(self, dim: int) -> Factor | None:
        """Return the factor that covers a dimension, if it is live."""
        return next((factor for factor in self.factors if dim in factor.dims), None)

    def labels(self, dim: int) -> Labels | None:
        """Return the labels of a dimension that a factor covers alone, shape ``[size]``."""
        factor = self.factor(dim)
        return factor.grid if factor is not None and len(factor.dims) == 1 else None

    def is_fixed(self, dim: int) -> bool:
        """Whether no index of the dimension can go."""
        return self.shape[dim] > 1 and dim not in self.uniform and self.factor(dim) is None

    def moved(self, destination: dict[int, int], shape: Sequence[int]) -> "Layout":
        """Return the layout with dimensions renamed; dimensions without a destination must not be live."""
        factors = tuple(Factor.over([destination[d] for d in f.dims], f.grid) for f in self.factors)
        return Layout(tuple(shape), factors, frozenset(destination[d] for d in self.uniform if d in destination))


def aligned_blocks(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Cut two shapes of equal element count into the smallest runs of dimensions of equal product.

    Dimensions of size one belong to no run.
    """
    blocks: list[tuple[list[int], list[int]]] = []
    i, j = 0, 0
    while True:
        while i < len(before) and before[i] == 1:
            i += 1
        while j < len(after) and after[j] == 1:
            j += 1
        if i == len(before) or j == len(after):
            return blocks
        left, right, rows, columns = before[i], after[j], [i], [j]
        while left != right:
            if left < right:
                i += 1
                left *= before[i]
                rows.append(i)
            else:
                j += 1
                right *= after[j]
                columns.append(j)
        blocks.append(([d for d in rows if before[d] > 1], [d for d in columns if after[d] > 1]))
        i, j = i + 1, j + 1


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout:
    """Carry labels through a view. Two factors may then cover one dimension; the caller resolves that."""
    if prod(shape) == 0 or prod(layout.shape) == 0:
        return Layout(tuple(shape))
    blocks = aligned_blocks(layout.shape, shape)
    uniform = {d for rows, columns in blocks if layout.uniform.issuperset(rows) for d in columns}
    return Layout(tuple(shape), tuple(_reshaped(f, layout, shape, blocks) for f in layout.factors), frozenset(uniform))


def _reshaped(
    factor: Factor, layout: Layout, shape: Sequence[int], blocks: list[tuple[list[int], list[int]]]
) -> Factor:
    touched = [(rows, columns) for rows, columns in blocks if set(rows) & set(factor.dims)]
    rows = [d for block in touched for d in block[0]]
    columns = [d for block in touched for d in block[1]]
    grid = factor.grid.reshape([layout.shape[d] if d in factor.dims else 1 for d in rows])
    grid = np.broadcast_to(grid, [layout.shape[d] for d in rows]).reshape([shape[d] for d in columns])
    for dim in list(columns):  # an axis along which nothing changes says nothing
        axis = columns.index(dim)
        first = np.take(grid, [0], axis=axis)
        if len(columns) > 1 and bool((grid == first).all()):
            grid = first.squeeze(axis)
            columns.remove(dim)
    return Factor(tuple(columns), grid)


def grouped(x: Layout, groups: int, dim: int) -> Layout:
    """View one dimension as two, groups and what is in each."""
    shape = (*x.shape[:dim], groups, x.shape[dim] // groups, *x.shape[dim + 1 :])
    factors = []
    for f in x.factors:
        sizes, dims = [], []
        for d in f.dims:
            sizes += [groups, x.shape[dim] // groups] if d == dim else [x.shape[d]]
            dims += [dim, dim + 1] if d == dim else [d if d < dim else d + 1]
        factors.append(_squeezed(dims, f.grid.reshape(sizes)))
    uniform = {d if d < dim else d + 1 for d in x.uniform if d != dim} | ({dim, dim + 1} if dim in x.uniform else set())
    return Layout(shape, tuple(factors), frozenset(uniform))


def ungrouped(x: Layout, dim: int, shape: Sequence[int]) -> Layout:
    """Drop a dimension of size one."""
    factors = tuple(Factor(tuple(d if d < dim else d - 1 for d in f.dims), f.grid) for f in x.factors)
    return Layout(tuple(shape), factors, frozenset(d if d < dim else d - 1 for d in x.uniform))


def _squeezed(dims: Sequence[int], grid: Labels) -> Factor:
    kept = [axis for axis, size in enumerate(grid.shape) if size > 1] or [0]
    return Factor(tuple(dims[axis] for axis in kept), grid.reshape([grid.shape[axis] for axis in kept]))
