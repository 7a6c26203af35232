"""From budgets to widths: solve, measure the whole graph, correct the prediction, and solve again until it holds."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.inference.latency.latency_table import LatencyTable
from reprune.planning.knapsack import InfeasibleError, Solution
from reprune.planning.pareto_front import Alternative, make_front
from reprune.planning.planner import Budget, Planner, Widths
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning.graph.analysis import Analysis

ROUNDS = 5
CLOSE = 0.93
"""A plan that uses this share of its budget needs no further round."""

Measure = Callable[[Widths], Sequence[float]]
"""Returns the latency of the whole pruned graph on each target, in seconds; dense for no widths."""


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
        dense_size_bytes: Size of the dense file; None where it is not known.
        size_bytes: Predicted size of the served file; None where the dense size is not known.
        size_budget_bytes: Size allowed.
        predicted_loss: Predicted rise of the loss before any recovery.
        holds: Whether the budgets hold: measured where it was measured.
        rounds: Every plan that was measured, in order.
        alternatives: The plans beside it, from fast to slow; empty where none were asked for.
    """

    model_config = ConfigDict(frozen=True)

    widths: dict[str, int]
    dense_widths: dict[str, int]
    targets: tuple[str, ...]
    budget_seconds: tuple[float, ...]
    dense_seconds: tuple[float, ...]
    predicted_latency_seconds: tuple[float, ...]
    measured_latency_seconds: tuple[float, ...] | None
    dense_size_bytes: float | None = None
    size_bytes: float | None
    size_budget_bytes: float | None
    predicted_loss: float
    holds: bool
    rounds: tuple[Correction, ...]
    alternatives: tuple[Alternative, ...] = ()

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
    alternatives: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Plan:
    """Choose widths whose charge (`reprune.planning.loss_penalty`) is least while every budget holds, measured.

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
        alternatives: Return the plans for other latencies too, so many of them measured; none by default.
        progress: Called with the share of the rounds done, 0 to 1.

    Raises:
        InfeasibleError: No widths hold the budget; it names the nearest one that could be held.
        InputError: There is a limit on size but no dense size, or the model has no groups.
    """
    planner = Planner(analysis, tables, sensitivity, budget, dense_size_bytes, candidates, plans)
    log: list[Correction] = []
    measured = None
    if measure is None:
        solution = planner.solve()
    else:
        planner.calibrate(np.asarray(measure({}), dtype=float))
        for widths in planner.probes():
            planner.learn(widths, np.asarray(measure(widths), dtype=float))
        solution, measured = _corrected(planner, measure, rounds, log, progress or (lambda share: None))
    front = () if alternatives is None else make_front(planner, alternatives, measure)
    return _plan(planner, solution, measured, tuple(log), front)


def _corrected(
    planner: Planner, measure: Measure, rounds: int, log: list[Correction], progress: Callable[[float], None]
) -> tuple[Solution, np.ndarray]:
    """Solve, measure and correct until a plan holds and uses its budget; returns the best, and its latencies."""
    done: list[tuple[Solution, np.ndarray]] = []
    for turn in range(rounds):
        try:
            solution = planner.solve()
        except InfeasibleError as error:
            if any(planner.fits(earlier.widths, measured) for earlier, measured in done):
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
        progress((turn + 1) / rounds)
        if planner.fits(solution.widths, measured) and planner.excess(measured) >= CLOSE:
            break
    fitting = [it for it in done if planner.fits(it[0].widths, it[1])]
    return min(fitting, key=lambda it: it[0].loss) if fitting else min(done, key=lambda it: planner.excess(it[1]))


def _plan(
    planner: Planner,
    solution: Solution,
    measured: np.ndarray | None,
    log: tuple[Correction, ...],
    front: tuple[Alternative, ...],
) -> Plan:
    predicted, size, limit = (
        planner.predicted(solution.widths),
        planner.size_bytes(solution.widths),
        planner.size_allowed,
    )
    holds = bool(np.all((predicted if measured is None else measured) <= planner.allowed))
    return Plan(
        widths=solution.widths,
        dense_widths=planner.dense_widths,
        targets=planner.labels,
        budget_seconds=tuple(planner.allowed),
        dense_seconds=tuple(planner.dense_seconds),
        predicted_latency_seconds=tuple(predicted),
        measured_latency_seconds=None if measured is None else tuple(measured),
        dense_size_bytes=planner.dense_size_bytes,
        size_bytes=size,
        size_budget_bytes=limit,
        predicted_loss=planner.predicted_loss(solution.widths),
        holds=holds and (limit is None or size is None or size <= limit),
        rounds=log,
        alternatives=front,
    )
