"""A pruning plan as a discrete optimisation problem: one width per group, losses that add up, costs of neighbours."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Choice = tuple[int, ...]
"""For each group, the index of the width chosen."""


@dataclass(frozen=True)
class Cost:
    """What a few groups cost together under every budget, for example one operator's latency and size.

    Attributes:
        groups: Positions of the groups whose widths decide it, ascending.
        values: Costs by width of each of them, ``[*widths, budgets]``.
    """

    groups: tuple[int, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Problem:
    """Choose one width per group: least loss, every budget held.

    Attributes:
        names: The groups.
        widths: Widths each one may have, ascending; the last is its dense width.
        losses: What each of them is charged, ``[widths]`` for each group; they add up.
        costs: Costs that add up; each budget has its own column.
    """

    names: tuple[str, ...]
    widths: tuple[tuple[int, ...], ...]
    losses: tuple[np.ndarray, ...]
    costs: tuple[Cost, ...]

    @cached_property
    def budgets(self) -> int:
        """Return the number of budgets."""
        return int(self.costs[0].values.shape[-1]) if self.costs else 1

    @cached_property
    def merged(self) -> tuple[Cost, ...]:
        """Return the costs with those of the same groups added up."""
        total: dict[tuple[int, ...], np.ndarray] = {}
        for cost in self.costs:
            total[cost.groups] = total[cost.groups] + cost.values if cost.groups in total else cost.values
        return tuple(Cost(groups, values) for groups, values in total.items())

    def loss(self, choice: Choice) -> float:
        """Return what a choice is charged."""
        return float(sum(losses[i] for losses, i in zip(self.losses, choice, strict=True)))

    def cost(self, choice: Choice) -> np.ndarray:
        """Return what a choice costs under each budget, ``[budgets]``."""
        total = np.zeros(self.budgets)
        for cost in self.merged:
            total += cost.values[tuple(choice[g] for g in cost.groups)]
        return total

    def dense(self) -> Choice:
        """Return the choice that prunes nothing."""
        return tuple(len(widths) - 1 for widths in self.widths)

    def only(self, budgets: Sequence[int] | np.ndarray) -> "Problem":
        """Return the problem under some of its budgets."""
        costs = tuple(Cost(cost.groups, cost.values[..., list(budgets)]) for cost in self.costs)
        return Problem(self.names, self.widths, self.losses, costs)

    def chosen(self, choice: Choice) -> dict[str, int]:
        """Return the widths of a choice by group."""
        return {name: widths[i] for name, widths, i in zip(self.names, self.widths, choice, strict=True)}


def exhaustive(problem: Problem, limits: Sequence[float]) -> tuple[Choice, float] | None:
    """Return the best choice by trying every one, and its loss; None when none holds. For small problems only."""
    best: tuple[Choice, float] | None = None
    for choice in itertools.product(*(range(len(widths)) for widths in problem.widths)):
        if np.all(problem.cost(choice) <= limits):
            loss = problem.loss(choice)
            if best is None or loss < best[1]:
                best = choice, loss
    return best


def fixed(problem: Problem, assigned: Mapping[int, int]) -> tuple[Problem, np.ndarray, list[int]]:
    """Fix the widths of some groups.

    Args:
        problem: The whole problem.
        assigned: Width index by group position.

    Returns:
        The problem that is left, what is spent already, ``[budgets]``, and the positions of the groups left.
    """
    left = [g for g in range(len(problem.names)) if g not in assigned]
    position = {g: k for k, g in enumerate(left)}
    spent, costs = np.zeros(problem.budgets), []
    for cost in problem.merged:
        values = cost.values[tuple(assigned.get(g, slice(None)) for g in cost.groups)]
        free = tuple(position[g] for g in cost.groups if g not in assigned)
        if free:
            costs.append(Cost(free, values))
        else:
            spent += values
    smaller = Problem(
        names=tuple(problem.names[g] for g in left),
        widths=tuple(problem.widths[g] for g in left),
        losses=tuple(problem.losses[g] for g in left),
        costs=tuple(costs),
    )
    return smaller, spent, left
