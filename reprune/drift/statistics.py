"""Two-sample statistics, each computed for many labellings of the same pooled examples at once.

A labelling says which of the pooled examples are the window's. Every statistic here is a function of the pooled
examples and a labelling, so that the observed one can be compared with what chance labellings give (see `permutation`).
Columns are centred over the pooled examples first: the sum over the window then says all, since that over the rest is
its opposite.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.floating[Any]]

THRESHOLDS = 32
"""Places at which the two distribution functions of a number are compared."""

RARER = 2 * math.log(10)
"""Taken off a squared statistic of what changes less often than location: it is then beyond a far threshold a tenth as
often by chance (the logarithm of a normal tail is about minus half the square). Who looks for more pays for it."""

NO_ROW = 1e-9
"""Share below which there is no row."""


class Statistic(Protocol):
    """One or several statistics of pooled examples."""

    def __call__(self, windows: Array) -> Array:
        """Return ``[labellings, statistics]`` for labellings ``[labellings, N]``: 1 in the window, 0 elsewhere."""


class LocationSpreadShape:
    """Whether a number is distributed alike in both samples, for each column, and for some columns together.

    The largest of three squared statistics, each about 1 by chance. That of location is van der Waerden's; that of
    spread is Klotz's (1962, Annals of Mathematical Statistics 33:498), without which few changes of spread would be
    found. They are sums of normal scores and of their squares: where the column is normal, as powerful as the best
    tests of its mean and its variance. That of shape is the largest likelihood ratio of the distribution functions
    (Berk & Jones, 1979, Zeitschrift für Wahrscheinlichkeitstheorie und verwandte Gebiete 47:47), which sees any
    difference, and soonest that a tail is empty. Since locations change most often, the other two have a tenth of the
    false alarms, that of shape divided among the places at which it looks.

    The functions are compared at the column's own values where those are few (pixels, counts), and at quantiles of the
    pooled column otherwise. A missing value counts as one above all others, so values that go missing are drift like
    any other.

    The same places part each column into bins. Small changes of many columns, such as of one grey level in all pixels,
    add up: the statistic of the columns together is the sum of squares, over all bins of all of them, of the
    standardized difference of a bin's share.

    Args:
        values: Pooled examples, ``[N, columns]``; NaN where a value is missing.
        together: Columns that are also looked at together.
    """

    def __init__(self, values: Array, together: Sequence[int] = ()) -> None:
        thresholds = [_thresholds(column) for column in values.T]
        places = np.array([len(t) for t in thresholds])
        self._starts = np.cumsum([0, *places[:-1]])
        below = np.concatenate([column[None, :] <= t[:, None] for column, t in zip(values.T, thresholds, strict=True)])
        self._share = share = below.mean(axis=1)
        ends = np.append(self._starts[1:], len(share)) - 1
        mass = np.concatenate([np.diff(part, prepend=0) for part in np.split(share, self._starts[1:])])
        self._below = below.sum(axis=1)
        self._shape = (RARER + 2 * np.log(places)).astype(np.float32)
        chosen = np.isin(np.repeat(np.arange(len(thresholds)), places), together)
        self._together, self._ends = bool(len(together)), ends
        self._bins, self._last = _precision(mass) * chosen, _precision(1 - share[ends]) * chosen[ends]
        scores = normal_scores(values)
        rows = [below.T - share, standardized(scores), standardized(np.square(scores))]
        self._rows = np.concatenate(rows, axis=1, dtype=np.float32, casting="same_kind")

    def __call__(self, windows: Array) -> Array:
        """Return the statistic of each column, and last that of the columns together, if there are any."""
        sums, columns, scale = windows @ self._rows, len(self._starts), unit(windows)
        functions, location, spread = np.split(sums, [-2 * columns, -columns], axis=1)
        size = windows.sum(axis=1, keepdims=True).astype(np.intp)
        below = np.rint(functions + size * self._share).astype(np.intp)
        ratios = likelihood_ratio(below, size, self._below, windows.shape[1])
        shape = np.maximum.reduceat(ratios, self._starts, axis=1)
        found = np.maximum(np.square(location) * scale, np.square(spread) * scale - RARER)
        found = np.maximum(found, shape - self._shape)
        if not self._together:
            return found
        inside = np.diff(functions, axis=1, prepend=0)
        inside[:, self._starts] = functions[:, self._starts]
        bins = np.square(inside) @ self._bins + np.square(functions[:, self._ends]) @ self._last
        return np.column_stack([found, bins * scale[:, 0]])


class ChiSquare:
    """Pearson's chi-square of a contingency table, category against sample, and its largest standardized residual.

    Their sum: often one category grows at the cost of all others, and the residual of that one (Haberman, 1973,
    Biometrics 29:205), squared, says so with one degree of freedom where chi-square has as many as categories. With a
    permutation null, small counts need no merging for the sake of an approximation. But categories that the reference
    does not know are told apart no more, and which these are depends on what is the window: with all others that are so
    rare that the reference might have missed them, they count as one, and every deal is treated alike.

    Args:
        values: Pooled categories, ``[N]``, from 0; a missing one (NaN) counts as a category.
        unknown: What stands for categories that the reference does not know.
        rare: Categories of fewer rows are put with those.
    """

    def __init__(self, values: Array, *, unknown: int = -2, rare: int = 0) -> None:
        names, codes, counts = np.unique(np.nan_to_num(values, nan=-1), return_inverse=True, return_counts=True)
        names[(counts < rare) & (names >= 0)] = unknown
        _, codes, counts = np.unique(names[codes], return_inverse=True, return_counts=True)
        share = counts / len(values)
        self._rows = ((codes[:, None] == np.arange(len(counts))) - share).astype(np.float32)
        self._weights = (1 / share).astype(np.float32)
        self._residuals = _precision(share)

    def __call__(self, windows: Array) -> Array:
        """Return the statistic for each labelling, ``[labellings, 1]``."""
        squared = np.square(windows @ self._rows)
        return (squared @ self._weights + (squared * self._residuals).max(axis=1))[:, None] * unit(windows)


def likelihood_ratio(
    found: NDArray[np.intp], window: NDArray[np.intp], both: NDArray[np.intp], rows: int
) -> NDArray[np.float64]:
    """Return twice the log-likelihood ratio of unequal shares in both samples to equal ones, about 1 by chance.

    It is far greater than the squared standardized difference where either sample has none.

    Args:
        found: How many of the window are there, ``[labellings, places]``.
        window: Rows of the window, ``[labellings, 1]``.
        both: How many of both samples are there, ``[places]``.
        rows: Of both samples.
    """
    counts = np.arange(rows + 1, dtype=np.float64)
    x_log_x: NDArray[np.float64] = special.xlogy(counts, counts)
    cells = x_log_x[found] + x_log_x[window - found] + x_log_x[both - found] + x_log_x[rows - window - both + found]
    margins = x_log_x[window] + x_log_x[rows - window] + x_log_x[both] + x_log_x[rows - both] - x_log_x[rows]
    return 2 * (cells - margins)


def normal_scores(values: Array) -> Array:
    """Return the normal quantile that goes with the rank of each value in its column, ``[N, columns]``.

    Equal values share the middle of their ranks; missing ones are above all others.
    """
    scores = np.empty(values.shape)
    for column, place in zip(values.T, scores.T, strict=True):
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        place[:] = special.ndtri((np.cumsum(counts) - counts / 2) / len(column))[inverse]
    return scores


def standardized(columns: Array) -> Array:
    """Return columns ``[N, columns]`` with mean 0 and standard deviation 1; constant ones and missing values are 0."""
    known = ~np.isnan(columns)
    rows = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, columns - np.where(known, columns, 0).sum(axis=0) / rows, 0)
    spread = np.sqrt(np.square(centred).sum(axis=0) / rows)
    return (centred / np.where(spread > 0, spread, 1)).astype(np.float32)


def _precision(share: Array) -> Array:
    """Return 1/variance of belonging to a bin with this share of the rows; 0 where all rows belong to it, or none."""
    variance = share * (1 - share)
    return np.where(variance > NO_ROW, 1 / np.maximum(variance, NO_ROW), 0).astype(np.float32)


def _thresholds(column: Array) -> Array:
    known = column[~np.isnan(column)]
    values = np.unique(known)
    if len(values) > THRESHOLDS + 1:
        values = np.unique(np.quantile(known, np.linspace(0, 1, THRESHOLDS + 2), method="inverted_cdf"))
    if len(known) == len(column):
        values = values[:-1] if len(values) > 1 else values
    return values if len(values) else np.zeros(1, dtype=column.dtype)


def unit(windows: Array) -> Array:
    """Return 1/n + 1/m of each labelling, ``[labellings, 1]``.

    The sum of a centred column over the window, times this, is the difference of the means in window and rest. The
    square of the sum, times this, is about 1 by chance where the column is standardized.
    """
    size = windows.sum(axis=1, keepdims=True)
    return 1 / size + 1 / (windows.shape[1] - size)
