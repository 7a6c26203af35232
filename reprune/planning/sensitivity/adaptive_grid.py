"""One group: the widths of its curve, which of them are measured, and what lies between those."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reprune.planning.sensitivity.curves import Curve, CurvePoint
from reprune.planning.sensitivity.sampling import Estimate, Sample
from reprune.pruning.graph.analysis import Group

RATIOS = tuple(np.arange(1, 10) / 10)
"""Shares of a group's cells that go, at which its curve has points."""

WORTH = 1.0
"""A width between two others is measured when the loss falls by so many standard errors from one to the other."""

SLACK = 2.0
"""An unmeasured width may lie so many standard errors of the drop between its neighbours above or below both: exact
neighbours do not make it exact."""


def default_widths(dense: int) -> list[int]:
    """Return the widths of a curve's points, where none are asked for."""
    return [max(1, round((1 - ratio) * dense)) for ratio in RATIOS]


class Cells:
    """The widths of one group, and what was measured there.

    Args:
        group: The group.
        saliency: Of its cells, ``[cells]``.
        widths: Widths to measure; None to choose.
        sample: Says what the measured examples stand for.

    Attributes:
        order: Its cells, the most important first.
        grid: Widths of the curve's points, ascending.
        fisher: Fisher information of the gates, ``[cells]``.
        estimates: By measured width.
    """

    def __init__(self, group: Group, saliency: Tensor, widths: Sequence[int] | None, sample: Sample) -> None:
        self.name = group.name
        self.dense = group.width
        self.order = torch.argsort(saliency, descending=True, stable=True)
        self.chosen = widths is not None
        self.grid = sorted({*(default_widths(self.dense) if widths is None else widths)} - {self.dense})
        self.fisher: tuple[float, ...] = (0.0,) * self.dense
        self.estimates: dict[int, Estimate] = {}
        self._rises: dict[int, np.ndarray] = {}
        self._numbers: dict[int, list[int]] = {}
        self._proposed = {width: float(self.dense - width) for width in self.grid}
        self._sample = sample
        self._drops: dict[tuple[int, int], tuple[float, float]] = {}

    def best(self, width: int) -> list[int]:
        """Return the cells that are kept at a width."""
        kept: list[int] = self.order[:width].sort().values.tolist()
        return kept

    def propose(self, fisher: Tensor) -> None:
        """Take over the shape that the gates propose: the Fisher information of what goes, ``[cells]`` by cell."""
        self.fisher = tuple(fisher.tolist())
        removed = fisher[self.order].flip(0).cumsum(0).flip(0)
        if float(removed[0]) > 0:
            self._proposed = {width: float(removed[width]) for width in self.grid}

    def add(self, width: int, numbers: list[int], rises: np.ndarray) -> None:
        """Add what was measured on further examples."""
        self._numbers[width] = self._numbers.get(width, []) + numbers
        self._rises[width] = np.concatenate([self._rises.get(width, np.empty(0)), rises])
        self._drops = {between: drop for between, drop in self._drops.items() if width not in between}
        self.estimates[width] = self._sample.estimate(self._numbers[width], self._rises[width])

    def next(self) -> int | None:
        """Return the width to measure next, if any: where the largest drop between two measured ones is halved."""
        if self.chosen:
            return next((width for width in self.grid if width not in self.estimates), None)
        if not self.estimates:
            return self.grid[0] if self.grid else None
        ends = [*sorted(self.estimates), self.dense]
        best: tuple[float, int] | None = None
        for left, right in zip(ends, ends[1:], strict=False):
            between = [width for width in self.grid if left < width < right]
            if (left, right) not in self._drops:
                self._drops[left, right] = self._drop(left, right)
            drop, noise = self._drops[left, right]
            worth = drop > WORTH * noise or len(self.estimates) == 1
            if between and worth and (best is None or drop > best[0]):
                middle = (self._proposed[left] + self._proposed.get(right, 0.0)) / 2
                best = drop, min(between, key=lambda width: abs(self._proposed[width] - middle))
        return best[1] if best else None

    def _drop(self, left: int, right: int) -> tuple[float, float]:
        """Return by how much the loss falls between two measured widths, and its standard error; they are paired."""
        wider = self._rises.get(right, np.zeros(len(self._rises[left])))
        shared = min(len(wider), len(self._rises[left]))
        found = self._sample.estimate(self._numbers[left][:shared], self._rises[left][:shared] - wider[:shared])
        return found.mean, found.standard_error

    def curve(self) -> Curve:
        """Return the curve as it is known."""
        measured = sorted(self.estimates)
        points = []
        for width in self.grid:
            if width in self.estimates:
                it = self.estimates[width]
                interval = (it.mean - it.margin, it.mean + it.margin)
                error, mean, count = it.standard_error, it.mean, len(self._numbers[width])
            else:
                mean, error, interval = self._between(width, measured)
                count = 0
            points.append(
                CurvePoint(width=width, loss_increase=mean, standard_error=error, interval=interval, examples=count)
            )
        return Curve(dense_width=self.dense, points=tuple(points))

    def _between(self, width: int, measured: list[int]) -> tuple[float, float, tuple[float, float]]:
        """Return a point between measured ones: in the gates' shape, and about anywhere between what bounds it."""
        left = max(it for it in measured if it < width)
        right = min((it for it in measured if it > width), default=self.dense)
        a = self.estimates[left]
        b = self.estimates.get(right, Estimate(0.0, 0.0, 0.0))
        low, high = self._proposed.get(right, 0.0), self._proposed[left]
        share = (self._proposed[width] - low) / (high - low) if high > low else (right - width) / (right - left)
        mean = b.mean + share * (a.mean - b.mean)
        slack = max(a.margin, b.margin, SLACK * self._drop(left, right)[1])
        interval = min(a.mean - a.margin, b.mean - b.margin) - slack, max(a.mean + a.margin, b.mean + b.margin) + slack
        error = (interval[1] - interval[0]) / 4
        return mean, error, interval
