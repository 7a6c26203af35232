"""Two-sample statistics, each computed for many labellings of the same pooled examples at once.

A labelling says which of the pooled examples are the window's. Every statistic here is a function of the pooled
examples and a labelling, so that the observed one can be compared with what chance labellings give (see `permutation`).
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

THRESHOLDS = 32
"""Places at which the two distribution functions of a number are compared."""

KERNEL_WIDTHS = (0.5, 1.0, 2.0)
"""Widths of the Gaussian kernels, relative to the median distance."""


class Statistic(Protocol):
    """One or several statistics of pooled examples."""

    def __call__(self, windows: Array) -> Array:
        """Return ``[labellings, statistics]`` for labellings ``[N, labellings]``: 1 in the window, 0 elsewhere."""


class AndersonDarling:
    """The squared distance between two distribution functions, weighted so that tails count, for each column.

    Of the tests of one number it is among the most powerful against shifts and much more so against changes of spread
    than Kolmogorov-Smirnov's (Scholz & Stephens, 1987, JASA 82:918). The functions are compared at the column's own
    values where those are few (pixels, counts), and at quantiles of the pooled column otherwise. A missing value
    counts as one above all others, so values that go missing are drift like any other.

    Args:
        values: Pooled examples, ``[N, columns]``; NaN where a value is missing.
    """

    def __init__(self, values: Array) -> None:
        thresholds = [_thresholds(column) for column in values.T]
        self._starts = np.cumsum([0, *(len(t) for t in thresholds[:-1])])
        self._below = np.concatenate(
            [column[None, :] <= t[:, None] for column, t in zip(values.T, thresholds, strict=True)]
        ).astype(np.float32)
        share = self._below.mean(axis=1, dtype=np.float64)
        mass = np.concatenate([np.diff(part, prepend=0) for part in np.split(share, self._starts[1:])])
        # A constant column has one threshold, at the end, where both functions are 1 and nothing can differ.
        self._weights = (mass / np.maximum(share * (1 - share), 1e-12) * (share < 1))[:, None].astype(np.float32)

    def __call__(self, windows: Array) -> Array:
        """Return the statistic of each column, ``[labellings, columns]``."""
        size, rest = _sizes(windows)
        inside = self._below @ windows
        outside = self._below.sum(axis=1, keepdims=True) - inside
        squared = np.square(inside / size - outside / rest)
        scale = size * rest / (size + rest)
        return (np.add.reduceat(self._weights * squared, self._starts, axis=0) * scale).T


class LikelihoodRatio:
    """The G statistic of a contingency table, category against sample (Sokal & Rohlf, Biometry, chapter 17).

    With a permutation null, categories with small counts need no merging, and a new category counts like any other.

    Args:
        values: Pooled categories, ``[N]``, from 0; a missing one (NaN) counts as a category.
    """

    def __init__(self, values: Array) -> None:
        values = np.nan_to_num(values, nan=-1)
        self._one_hot = (np.unique(values)[:, None] == values[None, :]).astype(np.float32)

    def __call__(self, windows: Array) -> Array:
        """Return G for each labelling, ``[labellings, 1]``."""
        size, rest = _sizes(windows)
        total = self._one_hot.sum(axis=1, keepdims=True)
        inside = self._one_hot @ windows
        share = size / (size + rest)
        g = _entropy_term(inside, total * share) + _entropy_term(total - inside, total * (1 - share))
        return (2 * g.sum(axis=0))[:, None]


class MaximumMeanDiscrepancy:
    """The squared distance between the mean embeddings of two samples (Gretton et al., 2012, JMLR 13:723).

    Biased estimate under a sum of Gaussian kernels around the median distance of the pooled sample.

    Args:
        values: Pooled examples, ``[N, columns]``, on a common scale.
    """

    def __init__(self, values: Array) -> None:
        squared = _squared_distances(values)
        off_diagonal = squared[~np.eye(len(squared), dtype=bool)]
        median = float(np.median(off_diagonal)) or 1.0
        kernels = (np.exp(-squared / (2 * width**2 * median)) for width in KERNEL_WIDTHS)
        self._kernel = (sum(kernels) / len(KERNEL_WIDTHS)).astype(np.float32)

    def __call__(self, windows: Array) -> Array:
        """Return the squared discrepancy for each labelling, ``[labellings, 1]``."""
        size, rest = _sizes(windows)
        weights = windows / size - (1 - windows) / rest
        return ((self._kernel @ weights) * weights).sum(axis=0)[:, None]


def standardized(columns: Array) -> Array:
    """Return columns ``[N, columns]`` with mean 0 and standard deviation 1; constant ones and missing values are 0."""
    known = ~np.isnan(columns)
    rows = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, columns - np.where(known, columns, 0).sum(axis=0) / rows, 0)
    spread = np.sqrt(np.square(centred).sum(axis=0) / rows)
    return (centred / np.where(spread > 0, spread, 1)).astype(np.float32)


def _thresholds(column: Array) -> Array:
    known = column[~np.isnan(column)]
    values = np.unique(known)
    if len(values) > THRESHOLDS + 1:
        values = np.unique(np.quantile(known, np.linspace(0, 1, THRESHOLDS + 2), method="inverted_cdf"))
    if len(known) == len(column):
        values = values[:-1] if len(values) > 1 else values
    return values if len(values) else np.zeros(1, dtype=column.dtype)


def _sizes(windows: Array) -> tuple[Array, Array]:
    size = windows.sum(axis=0)
    return size, len(windows) - size


def _entropy_term(observed: Array, expected: Array) -> Array:
    return observed * np.log(np.maximum(observed, 1e-12) / expected)


def _squared_distances(values: Array) -> Array:
    norms = np.square(values).sum(axis=1)
    return np.maximum(norms[:, None] + norms[None, :] - 2 * values @ values.T, 0)
