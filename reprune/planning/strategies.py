"""How widths are chosen under limits: by searching all of them, or by going along a row of ready plans."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from reprune.planning.cost_model import Prices
from reprune.planning.knapsack import InfeasibleError, Solution, solve
from reprune.planning.problem import Problem
from reprune.planning.sensitivity.curves import Sensitivity


class Chooser(Protocol):
    """A way to choose widths."""

    def __call__(self, limits: np.ndarray) -> Solution:
        """Return a plan that holds the limits.

        Args:
            limits: On the sum of operators' latencies on each target, in seconds, and on the bytes of their weights,
                ``[targets + 1]``; infinite where there is none, not positive where nothing can hold.

        Raises:
            InfeasibleError: No plan holds them; it carries the nearest.
        """


class Knapsack:
    """The planner's own way: the widths that are charged least.

    Args:
        problem: With the budgets of `Prices.problem`.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def __call__(self, limits: np.ndarray) -> Solution:
        """Return the plan that is charged least and holds the limits."""
        if np.any(limits <= 0):
            choice = (0,) * len(self._problem.names)
            widths, loss = self._problem.chosen(choice), self._problem.loss(choice)
            raise _nothing_holds(Solution(choice, widths, loss, self._problem.cost(choice)))
        bounded = np.flatnonzero(np.isfinite(limits))
        return solve(self._problem.only(bounded), limits[bounded])


class Row:
    """A baseline's way: the first plan of a row that holds.

    A narrower plan need not be a cheaper one, where it misses the kernels' blocks, so none is passed over.

    Args:
        plans: Cells kept by group, ever fewer.
        prices: What they cost.
        sensitivity: What they lose.
    """

    def __init__(self, plans: Sequence[Mapping[str, int]], prices: Prices, sensitivity: Sensitivity) -> None:
        self._plans = [prices.dense | dict(plan) for plan in plans]
        self._costs = [np.append(prices.latencies(plan), prices.weight_bytes(plan)) for plan in self._plans]
        self._sensitivity = sensitivity

    def __call__(self, limits: np.ndarray) -> Solution:
        """Return the first plan that holds the limits."""
        for place, costs in enumerate(self._costs):
            if np.all(costs <= limits):
                return self._solution(place)
        positive = np.maximum(limits, 1e-12)
        raise _nothing_holds(self._solution(int(np.argmin([np.max(costs / positive) for costs in self._costs]))))

    def _solution(self, place: int) -> Solution:
        widths = self._plans[place]
        loss = sum(float(self._sensitivity.losses(name, [width])[0]) for name, width in widths.items())
        return Solution((place,), widths, loss, self._costs[place])


def _nothing_holds(nearest: Solution) -> InfeasibleError:
    return InfeasibleError("No widths hold the limits.", "Raise them, or start from a smaller model.", nearest)
