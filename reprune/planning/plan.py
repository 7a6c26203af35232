"""From budgets to widths: solve, measure the whole graph, correct the prediction, and solve again until it holds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.errors import InputError
from reprune.hardware.latency_table import LatencyTable
from reprune.planning.choosing import Chooser, Knapsack, Row
from reprune.planning.knapsack import InfeasibleError, Solution
from reprune.planning.pricing import Prices
from reprune.planning.sensitivity import Sensitivity
from reprune.pruning.groups import Analysis
from reprune.quantity import LatencyLimit, SizeLimit

ROUNDS = 5
CLOSE = 0.9
"""A plan that uses this share of its budget needs no further round."""

MARGIN = 0.05
"""Part of the latency budget that is left unused, for what two measurements of one graph differ by."""

STEP_DOWN = 0.97
"""After a plan that was too slow, the next may cost at most this share of it, whatever the correction says."""

Widths = Mapping[str, int]
Measure = Callable[[Widths], Sequence[float]]
"""Returns the latency of the whole pruned graph on each target, in seconds; dense for no widths."""


class Budget(Protocol):
    """What a plan may cost."""

    @property
    def latency(self) -> LatencyLimit:
        """Return the limit on latency, on every target."""

    @property
    def size(self) -> SizeLimit | None:
        """Return the limit on the file's size."""


class Correction(BaseModel):
    """One round of planning.

    Attributes:
        widths: Cells kept by group.
        predicted_seconds: Latency of the whole graph on each target, as the corrected tables predicted it.
        measured_seconds: As it was measured.
    """

    model_config = ConfigDict(frozen=True)

    widths: dict[str, int]
    predicted_seconds: tuple[float, ...]
    measured_seconds: tuple[float, ...]


class Plan(BaseModel):
    """The widths to prune to, and what they cost.

    Attributes:
        widths: Cells kept, by group.
        dense_widths: Cells of the dense model.
        targets: Labels of the targets; latencies below are in their order.
        budget_seconds: Latency allowed.
        dense_seconds: Latency of the dense model: measured, or the sum of its operators where nothing was measured.
        predicted_latency_seconds: Latency of the plan, predicted.
        measured_latency_seconds: Latency of the plan's untrained graph, measured; None where it was not.
        size_bytes: Predicted size of the served file; None where the dense size is not known.
        size_budget_bytes: Size allowed.
        predicted_loss: Predicted rise of the loss before any recovery.
        holds: Whether the budgets hold: measured where it was measured.
        rounds: Every plan that was measured, in order.
    """

    model_config = ConfigDict(frozen=True)

    widths: dict[str, int]
    dense_widths: dict[str, int]
    targets: tuple[str, ...]
    budget_seconds: tuple[float, ...]
    dense_seconds: tuple[float, ...]
    predicted_latency_seconds: tuple[float, ...]
    measured_latency_seconds: tuple[float, ...] | None
    size_bytes: float | None
    size_budget_bytes: float | None
    predicted_loss: float
    holds: bool
    rounds: tuple[Correction, ...]

    @property
    def prediction_error(self) -> float | None:
        """Return the largest relative error of the first prediction, before any correction; None if not measured."""
        if not self.rounds:
            return None
        first = self.rounds[0]
        return float(np.max(np.abs(np.array(first.predicted_seconds) / first.measured_seconds - 1)))


def make_plan(
    analysis: Analysis,
    tables: Sequence[LatencyTable],
    sensitivity: Sensitivity,
    budget: Budget,
    *,
    measure: Measure | None = None,
    dense_size_bytes: float | None = None,
    candidates: Mapping[str, Sequence[int]] | None = None,
    plans: Sequence[Widths] | None = None,
    rounds: int = ROUNDS,
    progress: Callable[[float], None] | None = None,
) -> Plan:
    """Choose the width of each group so that the predicted loss is least and every budget holds, measured.

    Args:
        analysis: Groups and operators of the dense model (`reprune.pruning.analyze`).
        tables: One latency table for each target.
        sensitivity: Loss against width for each group.
        budget: Limits; relative ones refer to the dense model, measured where `measure` is given.
        measure: Builds and times the graph at some widths; without it the plan rests on the tables alone.
        dense_size_bytes: Size of the dense file; needed for a limit on size.
        candidates: Widths to choose from by group, ascending, the dense one last; by default those that the tables show
            to be worth considering.
        plans: Take the first of these that holds, in place of searching: one of `reprune.planning.baselines`.
        rounds: Most plans to measure.
        progress: Called with the share of the rounds done, 0 to 1.

    Raises:
        InfeasibleError: No widths hold the budget; it names the nearest one that could be held.
        InputError: There is a limit on size but no dense size, or the model has no groups.
    """
    planner = _Planner(analysis, tables, sensitivity, budget, dense_size_bytes, candidates, plans)
    if measure is None:
        return planner.plan(planner.solve(), None, ())
    planner.calibrate(np.asarray(measure({}), dtype=float))
    done: list[tuple[Solution, np.ndarray]] = []
    log: list[Correction] = []
    for turn in range(rounds):
        try:
            solution = planner.solve()
        except InfeasibleError as error:
            if any(planner.fits(measured) for _, measured in done):
                break
            if any(error.nearest.widths == earlier.widths for earlier, _ in done):
                raise
            solution = error.nearest  # out of reach as predicted; measure before saying so
        if any(solution.widths == earlier.widths for earlier, _ in done):
            break
        measured = np.asarray(measure(solution.widths), dtype=float)
        predicted = planner.predicted(solution.widths)
        log.append(
            Correction(widths=solution.widths, predicted_seconds=tuple(predicted), measured_seconds=tuple(measured))
        )
        done.append((solution, measured))
        planner.correct(solution.widths, measured)
        if progress is not None:
            progress((turn + 1) / rounds)
        if planner.fits(measured) and planner.close(measured):
            break
    fitting = [it for it in done if planner.fits(it[1])]
    solution, measured = (
        min(fitting, key=lambda it: it[0].loss) if fitting else min(done, key=lambda it: planner.excess(it[1]))
    )
    return planner.plan(solution, measured, tuple(log))


class _Planner:
    """The state of the correction: for each target a line from the sum of operators to the whole graph's latency."""

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
        self._labels = tuple(table.target.label() for table in tables)
        if not self._prices.dense:
            raise InputError(
                "The model has no group of channels that could be cut.", "The analysis lists what is frozen."
            )
        self._choose: Chooser = (
            Knapsack(self._prices.problem(sensitivity, candidates or self._prices.candidates()))
            if plans is None
            else Row(plans, self._prices, sensitivity)
        )
        self._budget, self._dense_size = budget, dense_size_bytes
        if budget.size is not None and dense_size_bytes is None:
            raise InputError("budget.size needs the size of the dense file.", "Export the dense model first.")
        self._sum = self._prices.latencies({})
        self._dense = self._sum.copy()
        self._offset, self._slope = np.zeros_like(self._sum), np.ones_like(self._sum)
        self._overhead = np.array([table.overhead_seconds for table in tables])
        self._ceiling = np.full_like(self._sum, np.inf)

    @property
    def allowed(self) -> np.ndarray:
        """Return the latency allowed on each target, in seconds."""
        return np.array([self._budget.latency.resolve(float(dense)) for dense in self._dense])

    @property
    def _aim(self) -> np.ndarray:
        return (1 - MARGIN) * self.allowed

    def calibrate(self, dense: np.ndarray) -> None:
        """Stretch the operators' latencies so that they add up to the dense graph's, as it was measured."""
        assert dense.shape == self._sum.shape
        self._dense = dense
        self._offset = np.minimum(self._overhead, 0.5 * dense)
        self._slope = (dense - self._offset) / self._sum

    def predicted(self, widths: Widths) -> np.ndarray:
        """Return the whole graph's latency on each target, in seconds."""
        return np.asarray(self._offset + self._slope * self._prices.latencies(widths))

    def correct(self, widths: Widths, measured: np.ndarray) -> None:
        """Lay the line through the dense graph and this one; never plan as dear again as what was too slow."""
        summed = self._prices.latencies(widths)
        slope = (self._dense - measured) / np.maximum(self._sum - summed, 1e-12)
        offset = self._dense - slope * self._sum
        sound = (slope > 0) & (offset >= 0)
        self._slope = np.where(sound, slope, measured / summed)
        self._offset = np.where(sound, offset, 0.0)
        self._ceiling = np.where(measured > self._aim, np.minimum(self._ceiling, STEP_DOWN * summed), self._ceiling)

    def solve(self) -> Solution:
        """Return the best widths under the budgets as predicted now."""
        limits = np.minimum((self._aim - self._offset) / self._slope, self._ceiling)
        size = np.inf if self._budget.size is None else self._weights_allowed()
        try:
            return self._choose(np.append(limits, size))
        except InfeasibleError as error:
            raise self._out_of_reach(error.nearest) from None

    def fits(self, measured: np.ndarray) -> bool:
        """Return whether a measured latency holds the budget on every target, with its margin."""
        return bool(np.all(measured <= self._aim))

    def close(self, measured: np.ndarray) -> bool:
        """Return whether the tightest budget is nearly used up, so that nothing is pruned in vain."""
        return self.excess(measured) >= CLOSE

    def excess(self, measured: np.ndarray) -> float:
        """Return the largest ratio of measured to allowed latency."""
        return float(np.max(measured / self.allowed))

    def plan(self, solution: Solution, measured: np.ndarray | None, log: tuple[Correction, ...]) -> Plan:
        """Return the plan for a solution."""
        predicted = self.predicted(solution.widths)
        size = None if self._dense_size is None else self._dense_size - self._prices.removed_bytes(solution.widths)
        limit = None if self._budget.size is None else self._budget.size.resolve(float(self._dense_size or 0))
        holds = bool(np.all((predicted if measured is None else measured) <= self.allowed))
        return Plan(
            widths=solution.widths,
            dense_widths=self._prices.dense,
            targets=self._labels,
            budget_seconds=tuple(self.allowed),
            dense_seconds=tuple(self._dense),
            predicted_latency_seconds=tuple(predicted),
            measured_latency_seconds=None if measured is None else tuple(measured),
            size_bytes=size,
            size_budget_bytes=limit,
            predicted_loss=solution.loss,
            holds=holds and (limit is None or size is None or size <= limit),
            rounds=log,
        )

    def _weights_allowed(self) -> float:
        """Return the bytes of operators' weights allowed: what else is in the file stays as it is."""
        assert self._budget.size is not None and self._dense_size is not None
        return self._budget.size.resolve(self._dense_size) - (self._dense_size - self._prices.weight_bytes({}))

    def _out_of_reach(self, nearest: Solution) -> InfeasibleError:
        """Say in the budget's own terms what could be reached."""
        seconds = self.predicted(nearest.widths)
        k = int(np.argmax(seconds / self.allowed))
        message = f"budget.latency: {self._budget.latency.text} is out of reach on {self._labels[k]}"
        remedy = f"The nearest is {seconds[k] / self._dense[k]:.2f}x, {seconds[k] * 1e3:.3g} ms"
        if self._budget.size is not None and self._dense_size is not None:
            size = self._dense_size - self._prices.removed_bytes(nearest.widths)
            message += f", together with budget.size: {self._budget.size.text}"
            remedy += f" at {size / 1e6:.3g} MB"
        return InfeasibleError(f"{message}.", f"{remedy}: allow that, or start from a smaller model.", nearest)
