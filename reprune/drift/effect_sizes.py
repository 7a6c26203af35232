"""How far a window moved from its reference: sizes of effects, which no threshold is put on."""

import numpy as np
from numpy.typing import NDArray

from reprune.drift.binning import Field
from reprune.drift.drift_report import Effect
from reprune.drift.statistics import normal_scores, standardized
from reprune.drift.window_summary import STEPS, Summary

TENTHS = 10
FOLDS = 5
RIDGE = 0.1


def effect(reference: Summary, window: Summary, column: int) -> Effect:
    """Return how far one column moved."""
    field = reference.frame.fields[column]
    before, now = reference.counts[column], window.counts[column]
    shares = before / before.sum(), now / now.sum()
    gap = shares[1] - shares[0]
    return Effect(
        psi=_psi(before, now, field),
        distance=float(np.abs(gap).sum() / 2 if field.categorical else np.abs(np.cumsum(gap)).max()),
        wasserstein=None if field.categorical else _wasserstein(reference, window, column),
        shift=None if field.categorical else _shift(reference, window, column),
        missing=(float(shares[0][-1]), float(shares[1][-1])),
        new_categories=window.novel[column],
    )


def separability(reference: Summary, window: Summary, columns: list[int]) -> float | None:
    """Return the area under the curve of a linear classifier of window against reference, cross-validated.

    The classifier two-sample test's statistic (Lopez-Paz & Oquab, 2017, ICLR), with a linear discriminant of
    normal scores, so that outliers and infinities weigh no more than their rank.

    Args:
        reference: Its sample is used.
        window: Likewise.
        columns: Numbers that the classifier sees.
    """
    if not columns:
        return None
    pooled = np.concatenate([part.sample[:, columns] for part in (reference, window)])
    values = standardized(normal_scores(pooled)).astype(np.float64)
    inside = np.repeat([False, True], [len(reference.sample), len(window.sample)])
    fold = np.concatenate([np.arange(len(part.sample)) % FOLDS for part in (reference, window)])
    scores = np.zeros(len(values))
    for held_out in range(FOLDS):
        train, test = fold != held_out, fold == held_out
        centres = [values[train & side].mean(axis=0) for side in (inside, ~inside)]
        spread = np.cov(values[train], rowvar=False).reshape(len(columns), -1) + RIDGE * np.eye(len(columns))
        scores[test] = (values[test] - (centres[0] + centres[1]) / 2) @ np.linalg.solve(spread, centres[0] - centres[1])
    ordered = np.sort(scores[~inside])
    wins = np.searchsorted(ordered, scores[inside], "left") + np.searchsorted(ordered, scores[inside], "right")
    return float(wins.mean() / (2 * len(ordered)))


def _psi(before: NDArray[np.int64], now: NDArray[np.int64], field: Field) -> float:
    if field.categorical:
        groups = np.arange(len(before))
    else:
        reached = np.cumsum(before[:-1]) - before[:-1]
        tenth = np.minimum(reached * TENTHS // max(before[:-1].sum(), 1), TENTHS - 1)
        groups = np.append(tenth, TENTHS)
    shares = []
    for counts in (before, now):
        grouped = np.bincount(groups, weights=counts) + 0.5  # so that an empty group is no infinite surprise
        shares.append(grouped / grouped.sum())
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _shift(reference: Summary, window: Summary, column: int) -> float | None:
    (before, spread), (now, _) = (_moments(summary, column) for summary in (reference, window))
    return (now - before) / spread if spread > 0 and np.isfinite(now) else None


def _moments(summary: Summary, column: int) -> tuple[float, float]:
    """Return mean and standard deviation in units of the field's scale, from its centre."""
    known = summary.rows - int(summary.counts[column][-1])
    if not known:
        return float("nan"), 0.0
    total, squares = (int(value) for value in summary.sums[column])
    variance = (squares * known - total * total) / (known * STEPS) ** 2
    return total / known / STEPS, max(variance, 0.0) ** 0.5


def _wasserstein(reference: Summary, window: Summary, column: int) -> float | None:
    before, now = (summary.counts[column][:-1].astype(np.float64) for summary in (reference, window))
    _, spread = _moments(reference, column)
    if not before.sum() or not now.sum() or spread <= 0:
        return None
    field = reference.frame.fields[column]
    extremes = np.stack([reference.extremes[column], window.extremes[column]])
    edges = np.append(field.boundaries, np.inf).clip(extremes[:, 0].min(), extremes[:, 1].max())
    # Within a bin, values are taken to lie evenly between its boundaries.
    at_start = np.append(0, np.cumsum(now / now.sum() - before / before.sum()))
    with np.errstate(invalid="ignore", over="ignore"):
        moved = (np.abs(at_start[:-1] + at_start[1:]) / 2 * np.diff(edges)).sum() / field.scale
    return float(moved / spread) if np.isfinite(moved) else None
