"""Plans as others make them, to compare with: every group alike, by global magnitude, or by a budget of MACs.

Each baseline is a row of plans from dense to narrow. Under a budget the first plan of the row that holds it is taken,
so that a baseline answers to the same budgets, and is measured and corrected, the same way as the planner's own plans.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from reprune.inference.latency.latency_table import Axis
from reprune.inference.latency.operators import OperatorShape
from reprune.planning.cost_model import Prices
from reprune.planning.knapsack import COARSE_BUCKETS, InfeasibleError, solve
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.prune import rounded, widths_at_ratio

STEPS = 64
"""Ratios that a row goes through."""

MAC_STEPS = 32
"""Budgets of MACs that a row goes through; each is a knapsack of its own."""

LEAST_MACS = 0.02
"""Share of the dense MACs at the end of the row."""

Widths = dict[str, int]


def uniform(analysis: Analysis, *, round_to: int | None = None) -> list[Widths]:
    """Return plans that take the same share of every group, ever more.

    Args:
        analysis: The model's groups.
        round_to: Round the channels that stay up to a multiple of this.
    """
    plans = (widths_at_ratio(analysis, step / STEPS) for step in range(STEPS))
    return _row(analysis, plans, round_to)


def magnitude(analysis: Analysis, scores: Mapping[str, Tensor], *, round_to: int | None = None) -> list[Widths]:
    """Return plans that take the lowest of all cells, each group's scores divided by their mean.

    Args:
        analysis: The model's groups.
        scores: Saliency of the cells by group, ``[cells]``; the L2 norm of their weights for the usual baseline.
        round_to: Round the channels that stay up to a multiple of this.
    """
    plans = (widths_at_ratio(analysis, step / STEPS, global_scores=scores) for step in range(STEPS))
    return _row(analysis, plans, round_to)


def macs(analysis: Analysis, sensitivity: Sensitivity, *, round_to: int | None = None) -> list[Widths]:
    """Return plans that are charged least under ever tighter budgets of multiply-accumulates.

    It is the planner itself, with the MACs of each operator in place of its measured latency: the difference between
    the two is what measuring is worth.

    Args:
        analysis: The model's groups and operators.
        sensitivity: Loss against width of each group.
        round_to: Round the channels that stay up to a multiple of this.
    """
    prices = Prices(analysis, [MacTable()])
    problem = prices.problem(sensitivity, prices.candidates()).only([0])
    dense = float(problem.cost(problem.dense())[0])
    plans: list[Widths] = [prices.dense]
    for share in np.geomspace(1, LEAST_MACS, MAC_STEPS)[1:]:
        try:
            plans.append(solve(problem, [share * dense], buckets=COARSE_BUCKETS).widths)
        except InfeasibleError:
            break
    return _row(analysis, plans, round_to)


def macs_of(analysis: Analysis, widths: Mapping[str, int]) -> float:
    """Return the multiply-accumulates of a model's convolutions and matrix products at some widths, for one example."""
    return float(Prices(analysis, [MacTable()]).latencies(widths)[0])


class MacTable:
    """Stands where a latency table does, and counts multiply-accumulates; it knows of no kernel's blocks."""

    def latency(self, shape: OperatorShape, in_width: int, out_width: int) -> float:
        """Return the operator's multiply-accumulates for one example."""
        return float(shape.macs(in_width, out_width))

    def axes(self, shape: OperatorShape) -> tuple[Axis, Axis]:
        """Return that every width of input and output counts."""
        return Axis(), Axis()


def _row(analysis: Analysis, plans: Iterable[Widths], round_to: int | None) -> list[Widths]:
    """Round what is to be rounded, and leave out what is said twice."""
    found: list[Widths] = []
    for plan in plans:
        kept = plan if round_to is None else {n: rounded(analysis, n, w, round_to) for n, w in plan.items()}
        if kept not in found[-1:]:
            found.append(kept)
    return found
