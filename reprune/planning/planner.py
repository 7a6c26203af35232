"""The planner's state: budgets as limits, and for each target what whole graphs were measured to take."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from reprune.config.limits import LatencyLimit, SizeLimit
from reprune.errors import InputError
from reprune.inference.latency.latency_table import LatencyTable
from reprune.planning import infeasible
from reprune.planning.cost_model import Prices
from reprune.planning.knapsack import ROUNDING, InfeasibleError, Solution
from reprune.planning.latency_model import WholeGraph
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.planning.strategies import Chooser, Knapsack, Row
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.shortfall import held_back

MARGIN = 0.05
"""Part of the latency budget that is left unused, for what two measurements of one graph differ by."""

PROBED = 0.25
"""Share of their widths that groups keep in the graphs that tell kinds of groups apart."""

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
                "The model has no group of channels that could be cut.", f"It is held back by: {held_back(analysis)}."
            )
        self._budget = budget
        if budget.size is not None and dense_size_bytes is None:
            raise InputError("budget.size needs the size of the dense file.", "Export the dense model first.")
        self._sensitivity, self._plans = sensitivity, plans
        summed, elements = self._prices.latencies({}), self._prices.elements({})
        self.dense_seconds = summed
        self._graphs = [
            WholeGraph(float(seconds), elements, table.overhead_seconds)
            for seconds, table in zip(summed, tables, strict=True)
        ]
        self._too_slow: list[Widths] = []
        self._candidates = candidates
        self._choose = self._chooser(self._prices)

    def _chooser(self, prices: Prices) -> Chooser:
        if self._plans is not None:
            return Row(self._plans, prices, self._sensitivity)
        return Knapsack(prices.problem(self._sensitivity, self._candidates or prices.candidates()))

    @property
    def allowed(self) -> np.ndarray:
        """Return the latency allowed on each target, in seconds."""
        return np.array([self._budget.latency.resolve(float(dense)) for dense in self.dense_seconds])

    @property
    def _aim(self) -> np.ndarray:
        allowed = self.allowed
        return np.where(allowed >= self.dense_seconds, allowed, (1 - MARGIN) * allowed)  # dense holds its own latency

    def calibrate(self, dense: np.ndarray) -> None:
        """Learn what the dense graph takes, as it was measured."""
        assert dense.shape == self.dense_seconds.shape
        self.dense_seconds = dense
        self.learn({}, dense)

    def probes(self) -> list[dict[str, int]]:
        """Return widths whose graphs tell the kinds of groups apart: one kind narrowed at a time.

        Where there is one kind only, as in a convolutional network, the dense graph tells enough.
        """
        kinds = self._prices.kinds
        if len(kinds) < 2:
            return []
        candidates = self._prices.candidates()

        def narrowed(name: str) -> int:
            return min(candidates[name], key=lambda width: abs(width - PROBED * self._prices.dense[name]))

        return [{name: narrowed(name) for name in self._prices.of_kind(kind)} for kind in kinds]

    def predicted(self, widths: Widths) -> np.ndarray:
        """Return the whole graph's latency on each target, in seconds."""
        summed = self._prices.latencies(widths)
        return np.array([graph.latency(float(it)) for graph, it in zip(self._graphs, summed, strict=True)])

    def predicted_loss(self, widths: Widths) -> float:
        """Return the predicted rise of the loss before any recovery: the sum of the groups' measured rises."""
        return float(sum(self._sensitivity.losses(name, [width])[0] for name, width in widths.items()))

    def correct(self, widths: Widths, measured: np.ndarray) -> None:
        """Learn what a planned graph takes; never plan as dear again as what was too slow."""
        self.learn(widths, measured)
        if np.any(measured > self._aim):
            self._too_slow.append(widths)

    def learn(self, widths: Widths, measured: np.ndarray) -> None:
        """Learn what a graph takes."""
        unrated = self._prices.at_rates(np.zeros((len(self._graphs), len(self._prices.kinds))))
        summed, elements = unrated.latencies(widths), unrated.elements(widths)
        for graph, operators, seconds in zip(self._graphs, summed, measured, strict=True):
            graph.learn(float(operators), elements, float(seconds))
        self._prices = unrated.at_rates(np.stack([graph.rates for graph in self._graphs]))
        self._choose = self._chooser(self._prices)

    def solve(self) -> Solution:
        """Return the best widths under the budgets as predicted now.

        Raises:
            InfeasibleError: There are none; it names the nearest budgets that can be held.
        """
        ceilings = [STEP_DOWN * self._prices.latencies(widths) for widths in self._too_slow]
        seconds, size = np.min([self._summed(self._aim), *ceilings], axis=0), self._weights_allowed()
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
        """Return the sum of operators' and activations' latencies that makes a whole graph of some latency."""
        return np.array([graph.summed(float(it)) for graph, it in zip(self._graphs, seconds, strict=True)])

    def _reachable(self, limits: np.ndarray) -> bool:
        try:
            self._choose(limits)
        except InfeasibleError:
            return False
        return True

    def fits(self, widths: Widths, measured: np.ndarray) -> bool:
        """Return whether a plan holds every budget: latency as it was measured, with its margin, and size."""
        size = self.size_bytes(widths)
        light = size is None or self.size_allowed is None or size <= self.size_allowed
        return light and bool(np.all(measured <= self._aim))

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
        return infeasible.explain(
            closest,
            latency=infeasible.Reached(self._budget.latency, latency_alone, seconds / (1 - MARGIN), self.dense_seconds),
            size=None
            if self._budget.size is None or self.dense_size_bytes is None
            else infeasible.Reached(
                self._budget.size,
                size_alone,
                np.array([self.size_bytes(closest.widths)]),
                np.array([self.dense_size_bytes]),
            ),
            targets=self.labels,
        )
