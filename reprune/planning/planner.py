"""The planner's state: budgets as limits, and for each target a line from the sum of operators to the whole graph."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from reprune.errors import InputError
from reprune.hardware.latency_table import LatencyTable
from reprune.planning import nearest
from reprune.planning.choosing import Chooser, Knapsack, Row
from reprune.planning.knapsack import ROUNDING, InfeasibleError, Solution
from reprune.planning.pricing import Prices
from reprune.planning.sensitivity import Sensitivity
from reprune.pruning.groups import Analysis
from reprune.quantity import LatencyLimit, SizeLimit

MARGIN = 0.05
"""Part of the latency budget that is left unused, for what two measurements of one graph differ by."""

STEP_DOWN = 0.97
"""After a plan that was too slow, the next may cost at most this share of it, whatever the correction says."""

Widths = Mapping[str, int]


class Budget(Protocol):
    """What a plan may cost."""

    @property
    def latency(self) -> LatencyLimit:
        """Return the limit on latency, on every target."""

    @property
    def size(self) -> SizeLimit | None:
        """Return the limit on the file's size."""


class Planner:
    """Solves under the budgets, as they are predicted by what was measured so far.

    Args:
        analysis: Groups and operators of the dense model.
        tables: One latency table for each target.
        sensitivity: Loss against width for each group.
        budget: Limits.
        dense_size_bytes: Size of the dense file; needed for a limit on size.
        candidates: Widths to choose from by group.
        plans: A row of plans to choose from in place of them.

    Raises:
        InputError: There is a limit on size but no dense size, or the model has no groups.
    """

    def __init__(
        self,
        analysis: Analysis,
        tables: Sequence[LatencyTable],
        sensitivity: Sensitivity,
        budget: Budget,
        dense_size_bytes: float | None,
        candidates: Mapping[str, Sequence[int]] | None,
        plans: Sequence[Widths] | None,
    ) -> None:
        self._prices = Prices(analysis, tables)
        self.labels = tuple(table.target.label() for table in tables)
        self.dense_size_bytes = dense_size_bytes
        if not self._prices.dense:
            raise InputError(
                "The model has no group of channels that could be cut.", "The analysis lists what is frozen."
            )
        self._choose: Chooser = (
            Knapsack(self._prices.problem(sensitivity, candidates or self._prices.candidates()))
            if plans is None
            else Row(plans, self._prices, sensitivity)
        )
        self._budget = budget
        if budget.size is not None and dense_size_bytes is None:
            raise InputError("budget.size needs the size of the dense file.", "Export the dense model first.")
        self._sum = self._prices.latencies({})
        self.dense_seconds = self._sum.copy()
        self._offset, self._slope = np.zeros_like(self._sum), np.ones_like(self._sum)
        self._overhead = np.array([table.overhead_seconds for table in tables])
        self._ceiling = np.full_like(self._sum, np.inf)

    @property
    def allowed(self) -> np.ndarray:
        """Return the latency allowed on each target, in seconds."""
        return np.array([self._budget.latency.resolve(float(dense)) for dense in self.dense_seconds])

    @property
    def _aim(self) -> np.ndarray:
        allowed = self.allowed
        return np.where(allowed >= self.dense_seconds, allowed, (1 - MARGIN) * allowed)  # dense holds its own latency

    def calibrate(self, dense: np.ndarray) -> None:
        """Stretch the operators' latencies so that they add up to the dense graph's, as it was measured."""
        assert dense.shape == self._sum.shape
        self.dense_seconds = dense
        self._offset = np.minimum(self._overhead, 0.5 * dense)
        self._slope = (dense - self._offset) / self._sum

    def predicted(self, widths: Widths) -> np.ndarray:
        """Return the whole graph's latency on each target, in seconds."""
        return np.asarray(self._offset + self._slope * self._prices.latencies(widths))

    def correct(self, widths: Widths, measured: np.ndarray) -> None:
        """Lay the line through the dense graph and this one; never plan as dear again as what was too slow."""
        summed = self._prices.latencies(widths)
        slope = (self.dense_seconds - measured) / np.maximum(self._sum - summed, 1e-12)
        offset = self.dense_seconds - slope * self._sum
        sound = (slope > 0) & (offset >= 0)
        self._slope = np.where(sound, slope, measured / summed)
        self._offset = np.where(sound, offset, 0.0)
        self._ceiling = np.where(measured > self._aim, np.minimum(self._ceiling, STEP_DOWN * summed), self._ceiling)

    def solve(self) -> Solution:
        """Return the best widths under the budgets as predicted now.

        Raises:
            InfeasibleError: There are none; it names the nearest budgets that can be held.
        """
        seconds, size = np.minimum(self._summed(self._aim), self._ceiling), self._weights_allowed()
        try:
            return self._choose(np.append(seconds, size))
        except InfeasibleError as error:
            latency_alone = self._reachable(np.append(seconds, np.inf))
            size_alone = self._reachable(np.append(np.full_like(seconds, np.inf), size))
            raise self._out_of_reach(error.nearest, latency_alone, size_alone) from None

    def solve_at(self, ratio: float) -> Solution:
        """Return the best widths at a share of the dense latency on every target, the limit on size left aside.

        Raises:
            InfeasibleError: There are none.
        """
        return self._choose(np.append(self._summed((1 + ROUNDING) * ratio * self.dense_seconds), np.inf))

    def _summed(self, seconds: np.ndarray) -> np.ndarray:
        """Return the sum of operators' latencies that makes a whole graph of some latency."""
        return np.asarray((seconds - self._offset) / self._slope)

    def _reachable(self, limits: np.ndarray) -> bool:
        try:
            self._choose(limits)
        except InfeasibleError:
            return False
        return True

    def fits(self, measured: np.ndarray) -> bool:
        """Return whether a measured latency holds the budget on every target, with its margin."""
        return bool(np.all(measured <= self._aim))

    def excess(self, measured: np.ndarray) -> float:
        """Return the largest ratio of measured to allowed latency."""
        return float(np.max(measured / self.allowed))

    def size_bytes(self, widths: Widths) -> float | None:
        """Return the size of the served file at some widths; None where the dense size is not known."""
        if self.dense_size_bytes is None:
            return None
        return self.dense_size_bytes - self._prices.removed_bytes(widths)

    @property
    def size_allowed(self) -> float | None:
        """Return the bytes allowed, or None."""
        limit = self._budget.size
        return None if limit is None else limit.resolve(float(self.dense_size_bytes or 0))

    @property
    def dense_widths(self) -> dict[str, int]:
        """Return the cells of the dense model by group."""
        return self._prices.dense

    def _weights_allowed(self) -> float:
        """Return the bytes of operators' weights allowed: what else is in the file stays as it is."""
        if self.size_allowed is None or self.dense_size_bytes is None:
            return np.inf
        return self.size_allowed - (self.dense_size_bytes - self._prices.weight_bytes({}))

    def _out_of_reach(self, closest: Solution, latency_alone: bool, size_alone: bool) -> InfeasibleError:
        """Say in the budgets' own terms what could be reached."""
        seconds = self.predicted(closest.widths)
        return nearest.explain(
            closest,
            latency=nearest.Reached(self._budget.latency, latency_alone, seconds / (1 - MARGIN), self.dense_seconds),
            size=None
            if self._budget.size is None or self.dense_size_bytes is None
            else nearest.Reached(
                self._budget.size,
                size_alone,
                np.array([self.size_bytes(closest.widths)]),
                np.array([self.dense_size_bytes]),
            ),
            targets=self.labels,
        )
