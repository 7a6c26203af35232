"""Exact dynamic programming over budget buckets, one group after the other, for plans with one budget.

Groups are eliminated one by one (bucket elimination: Dechter 1999), each leaving a table of the least loss for every
width of its neighbours and every amount spent. Where operators join groups in chains, trees or residual stages those
tables stay small, and the answer is the best there is up to the rounding of costs to buckets. Latency buckets as the
state of a pruning plan come from SPDY (Frantar and Alistarh 2022, arXiv:2201.13096), which plans layers one by one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from reprune.planning.problem import Choice, Cost, Problem

LARGEST_TABLE = 4_000_000
"""Elements of the largest table that a problem may need: width combinations of a group and its neighbours × buckets."""

Found = dict[int, int]
_T = TypeVar("_T", Cost, "_Message")


class Tables:
    """The best plans of a problem with one budget, for every amount spent up to the limit and a little above.

    Args:
        problem: With one budget.
        limit: The budget.
        buckets: Steps that the limit is divided into; costs are rounded to the nearest.
    """

    def __init__(self, problem: Problem, limit: float, buckets: int) -> None:
        assert problem.budgets == 1 and limit > 0
        # what many roundings may add up to, so that a plan that just holds is not lost to them
        size = buckets + 2 + math.isqrt(len(problem.merged))
        self._count = len(problem.names)
        costs = [Cost(c.groups, _rounded(c.values[..., 0] / limit * buckets, size)) for c in problem.merged]
        messages: list[_Message] = []
        for group in elimination_order(problem):
            touching, costs = _parted(costs, group)
            received, messages = _parted(messages, group)
            messages.append(_Eliminated(group, problem.losses[group], touching, _together(received, size)))
        self._root = _together(messages, size)

    def choices(self, most: int) -> list[Choice]:
        """Return choices, each the best at its cost, from dear to cheap; the first may be a trifle too dear.

        Args:
            most: So many of the dearest, and as many again spread over the cheaper ones, the cheapest included.
        """
        steps = _steps(self._root.loss)[::-1]
        rest = np.linspace(most, len(steps) - 1, num=most if len(steps) > most else 0, dtype=int)
        return [self._choice(int(steps[k])) for k in (*range(min(most, len(steps))), *dict.fromkeys(rest.tolist()))]

    def _choice(self, spent: int) -> Choice:
        found: Found = {}
        self._root.assign(spent, found)
        return tuple(found[g] for g in range(self._count))


def elimination_order(problem: Problem) -> list[int]:
    """Return the groups in an order that keeps tables small: always the one whose table is smallest next."""
    return [group for group, _ in _eliminations(problem)]


def largest_table(problem: Problem) -> int:
    """Return the number of width combinations in the largest table that the problem needs."""
    return max((size for _, size in _eliminations(problem)), default=1)


def _eliminations(problem: Problem) -> list[tuple[int, int]]:
    neighbours: dict[int, set[int]] = {g: set() for g in range(len(problem.names))}
    for cost in problem.merged:
        for g in cost.groups:
            neighbours[g] |= set(cost.groups) - {g}
    order = []

    def size(group: int) -> int:
        return math.prod(len(problem.widths[g]) for g in (group, *neighbours[group]))

    while neighbours:
        group = min(neighbours, key=size)
        order.append((group, size(group)))
        around = neighbours.pop(group)
        for g in around:
            neighbours[g] = (neighbours[g] | around) - {g, group}
    return order


class _Message(ABC):
    """Least loss of some groups that are settled, by the widths of their neighbours and the buckets they may spend."""

    groups: tuple[int, ...]
    """The neighbours, ascending."""
    loss: np.ndarray
    """``[*widths of the neighbours, buckets]``, never rising along the last axis."""

    @abstractmethod
    def assign(self, spent: int, found: Found) -> None:
        """Add the widths of the settled groups, given those of the neighbours and the buckets to spend."""


class _Nothing(_Message):
    """No groups."""

    def __init__(self, size: int) -> None:
        self.groups, self.loss = (), np.zeros(size, dtype=np.float32)

    def assign(self, spent: int, found: Found) -> None:
        return


class _Both(_Message):
    """Two messages that share what may be spent."""

    def __init__(self, left: _Message, right: _Message) -> None:
        self.groups = tuple(sorted({*left.groups, *right.groups}))
        if _steps(left.loss).size < _steps(right.loss).size:
            left, right = right, left
        self._left, self._right = left, right
        a = _spread(left.loss, left.groups, self.groups, trailing=1)
        b = _spread(right.loss, right.groups, self.groups, trailing=1)
        shape = np.broadcast_shapes(a.shape, b.shape)
        self.loss = np.full(shape, np.inf, dtype=np.float32)
        self._right_spends = np.zeros(shape, dtype=np.int32)
        for step in _steps(right.loss):  # between its steps the right side gains nothing from more
            total = a[..., : shape[-1] - step] + b[..., step, None]
            better = total < self.loss[..., step:]
            np.copyto(self.loss[..., step:], total, where=better)
            np.copyto(self._right_spends[..., step:], step, where=better)

    def assign(self, spent: int, found: Found) -> None:
        right = int(self._right_spends[(*_at(found, self.groups), spent)])
        self._right.assign(right, found)
        self._left.assign(spent - right, found)


class _Eliminated(_Message):
    """A group settled on top of what was settled before: its best width for each of its neighbours' widths."""

    def __init__(self, group: int, losses: np.ndarray, costs: list[Cost], before: _Message) -> None:
        self._group, self._before = group, before
        self._all = tuple(sorted({group, *before.groups}.union(*(cost.groups for cost in costs))))
        self.groups = tuple(g for g in self._all if g != group)
        self._cost = np.asarray(sum((_spread(c.values, c.groups, self._all) for c in costs), start=np.int64(0)))
        own = _spread(losses.astype(np.float32), (group,), self._all)
        earlier = _spread(before.loss, before.groups, self._all, trailing=1)
        shape = np.broadcast_shapes(self._cost.shape, own.shape, earlier.shape[:-1])
        self._cost = np.broadcast_to(self._cost, shape)
        rest = np.arange(earlier.shape[-1]) - self._cost[..., None]
        loss = np.take_along_axis(np.broadcast_to(earlier, rest.shape), np.maximum(rest, 0), axis=-1)
        loss = np.where(rest >= 0, loss, np.float32(np.inf)) + own[..., None]
        axis = self._all.index(group)
        self._best = loss.argmin(axis=axis).astype(np.int16)
        self.loss = loss.min(axis=axis)

    def assign(self, spent: int, found: Found) -> None:
        found[self._group] = int(self._best[(*_at(found, self.groups), spent)])
        self._before.assign(spent - int(self._cost[_at(found, self._all)]), found)


def _together(messages: list[_Message], size: int) -> _Message:
    """Add up messages, the small ones first."""
    waiting = sorted(messages, key=lambda message: message.loss.size, reverse=True)
    if not waiting:
        return _Nothing(size)
    while len(waiting) > 1:
        waiting.append(_Both(waiting.pop(), waiting.pop()))
    return waiting[0]


def _parted(items: list[_T], group: int) -> tuple[list[_T], list[_T]]:
    """Part what touches a group from what does not."""
    return [item for item in items if group in item.groups], [item for item in items if group not in item.groups]


def _rounded(buckets: np.ndarray, size: int) -> np.ndarray:
    return np.minimum(np.rint(buckets), size).astype(np.int64)


def _spread(values: np.ndarray, groups: tuple[int, ...], over: tuple[int, ...], trailing: int = 0) -> np.ndarray:
    """Give an array over some groups an axis of size one for each of the other groups."""
    shape = iter(values.shape)
    wide = [next(shape) if g in groups else 1 for g in over]
    return values.reshape(*wide, *values.shape[values.ndim - trailing :])


def _steps(loss: np.ndarray) -> np.ndarray:
    """Return the buckets at which any of the losses falls."""
    before = np.concatenate([np.full_like(loss[..., :1], np.inf), loss[..., :-1]], axis=-1)
    return np.flatnonzero((loss < before).reshape(-1, loss.shape[-1]).any(axis=0))


def _at(found: Mapping[int, int], groups: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(found[g] for g in groups)
