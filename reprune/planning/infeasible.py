"""What to say when no widths hold the budgets: which of them is out of reach, and the nearest that is not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reprune import formatting
from reprune.config.limits import LatencyLimit, Limit
from reprune.planning.knapsack import InfeasibleError, Solution


@dataclass(frozen=True)
class Reached:
    """One budget, and what the nearest plan needs of it.

    Attributes:
        limit: As it was asked for.
        alone: Whether it could be held if it were the only one.
        needed: What must be allowed for the nearest plan, in base units, ``[targets]``; one number for a size.
        dense: What the dense model takes.
    """

    limit: Limit
    alone: bool
    needed: np.ndarray
    dense: np.ndarray

    @property
    def excess(self) -> float:
        """Return how many times more the nearest plan needs than is allowed."""
        return float(np.max(self.needed / [self.limit.resolve(float(dense)) for dense in self.dense]))

    def nearest(self) -> str:
        """Return the nearest limit as it would be written, rounded up so that it holds."""
        if self.limit.relative:
            ratio = min(float(np.max(self.needed / self.dense)), 1.0)  # the dense model holds that
            return f"{math.ceil(100 * ratio - 1e-6) / 100:.2f}x"
        unit, factor = ("ms", 1e3) if isinstance(self.limit, LatencyLimit) else ("MB", 1e-6)
        return f"{_up(float(np.max(self.needed)) * factor):g}{unit}"


def explain(closest: Solution, *, latency: Reached, size: Reached | None, targets: Sequence[str]) -> InfeasibleError:
    """Return the error to raise.

    Args:
        closest: The nearest plan.
        latency: The budget of latency.
        size: The budget of size, where there is one.
        targets: Their labels.
    """
    worst = targets[int(np.argmax(latency.needed / [latency.limit.resolve(float(dense)) for dense in latency.dense]))]
    asked = f"budget.latency: {latency.limit.text}"
    if size is not None and latency.alone and not size.alone:
        message = f"budget.size: {size.limit.text} is out of reach."
    elif size is not None and latency.alone:
        message = f"{asked} on {worst} and budget.size: {size.limit.text} cannot both be held."
    else:
        message = f"{asked} is out of reach on {worst}."
    wanted = [f"latency {latency.nearest()}"] if latency.excess > 1 else []
    wanted += [f"size {size.nearest()}"] if size is not None and size.excess > 1 else []
    where = " on every target" if len(targets) > 1 else ""
    reached = ", ".join(
        f"{formatting.seconds(seconds)} of {formatting.seconds(dense)}"
        for seconds, dense in zip(latency.needed, latency.dense, strict=True)
    )
    remedy = f"The nearest that can be held{where} is {' with '.join(wanted)} ({reached}"
    remedy += (
        "" if size is None else f", {formatting.size(float(size.needed[0]))} of {formatting.size(float(size.dense[0]))}"
    )
    return InfeasibleError(message, f"{remedy}): allow that, or start from a smaller model.", closest)


def _up(value: float) -> float:
    """Round up to three significant digits."""
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return math.ceil(value * scale - 1e-6) / scale
