"""The plans beside the plan: what each latency would cost in loss, so that a budget is chosen with open eyes."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.planning.knapsack import InfeasibleError, Solution
from reprune.planning.planner import Planner, Widths

RATIOS = tuple(np.round(np.geomspace(0.05, 1.0, 25), 3).tolist())
"""Shares of the dense latency that the front is solved at."""


class Alternative(BaseModel):
    """A plan that no other plan betters in both latency and loss.

    Attributes:
        widths: Cells kept, by group.
        predicted_loss: Predicted rise of the loss before any recovery.
        predicted_latency_seconds: On each target.
        measured_latency_seconds: The same of the untrained graph, measured; None where it was not.
        size_bytes: Predicted size of the served file; None where the dense size is not known.
    """

    model_config = ConfigDict(frozen=True)

    widths: dict[str, int]
    predicted_loss: float
    predicted_latency_seconds: tuple[float, ...]
    measured_latency_seconds: tuple[float, ...] | None
    size_bytes: float | None


def make_front(
    planner: Planner, measured: int, measure: Callable[[Widths], Sequence[float]] | None
) -> tuple[Alternative, ...]:
    """Return the front from the fastest plan to the dense model.

    Args:
        planner: After its corrections, so that its predictions are as good as they get.
        measured: How many plans to measure, spread over the front.
        measure: Times the whole graph at some widths.
    """
    solved = (_solved(planner, ratio) for ratio in reversed(RATIOS))
    solutions = _undominated(planner, [it for it in itertools.takewhile(lambda it: it is not None, solved) if it])
    inner = len(solutions) - 1  # the dense model at the end is measured already
    timed = set(np.linspace(0, inner - 1, min(measured, inner)).round().astype(int).tolist()) if measure else set()
    return tuple(
        Alternative(
            widths=solution.widths,
            predicted_loss=planner.predicted_loss(solution.widths),
            predicted_latency_seconds=tuple(planner.predicted(solution.widths)),
            measured_latency_seconds=tuple(measure(solution.widths)) if measure and place in timed else None,
            size_bytes=planner.size_bytes(solution.widths),
        )
        for place, solution in enumerate(solutions)
    )


def _solved(planner: Planner, ratio: float) -> Solution | None:
    try:
        return planner.solve_at(ratio)
    except InfeasibleError:
        return None


def _undominated(planner: Planner, solutions: list[Solution]) -> list[Solution]:
    """Keep, from fast to slow, what loses less than everything faster."""

    def latency(solution: Solution) -> float:
        return float(np.max(planner.predicted(solution.widths) / planner.dense_seconds))

    def loss(solution: Solution) -> float:
        return planner.predicted_loss(solution.widths)

    kept: list[Solution] = []
    for solution in sorted(solutions, key=lambda it: (latency(it), loss(it))):
        if not kept or loss(solution) < loss(kept[-1]):
            kept.append(solution)
    return kept
