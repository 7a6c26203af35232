"""Two-sample statistics, each computed for many labellings of the same pooled examples at once.

A labelling says which of the pooled examples are the window's. Every statistic here is a function of the pooled
examples and a labelling, so that the observed one can be compared with what chance labellings give (see `permutation`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

THRESHOLDS = 32
"""Places at which the two distribution functions of a number are compared."""

KERNEL_WIDTHS = (0.5, 1.0, 2.0)
"""Widths of the Gaussian kernels, relative to the median distance."""


class Statistic(Protocol):
    """One or several statistics of pooled examples."""

    def __call__(self, windows: Array) -> Array:
        """Return ``[labellings, statistics]`` for labellings ``[N, labellings]``: 1 in the window, 0 elsewhere."""


class KolmogorovSmirnov:
    """The largest distance between two distribution functions, for each column.

    The functions are compared at the column's own values where those are few (pixels, counts), and at
    quantiles of the pooled column otherwise; with a permutation null both are exact, ties or not.

    Args:
        values: Pooled examples, ``[N, columns]``.
    """

    def __init__(self, values: Array) -> None:
        thresholds = [_thresholds(column) for column in values.T]
        self._starts = np.cumsum([0, *(len(t) for t in thresholds[:-1])])
        self._below = np.concatenate(
            [column[None, :] <= t[:, None] for column, t in zip(values.T, thresholds, strict=True)]
        ).astype(np.float32)

    def __call__(self, windows: Array) -> Array:
        """Return a distance from 0 to 1 for each column, ``[labellings, columns]``."""
        size, rest = _sizes(windows)
        inside = self._below @ windows
        outside = self._below.sum(axis=1, keepdims=True) - inside
        return np.maximum.reduceat(np.abs(inside / size - outside / rest), self._starts, axis=0).T


class LikelihoodRatio:
    """The G statistic of a contingency table, category against sample (Sokal & Rohlf, Biometry, chapter 17).

    With a permutation null, categories with small counts need no merging, and a new category counts like any other.

    Args:
        values: Pooled categories, ``[N]``.
    """

    def __init__(self, values: Array) -> None:
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


def standardized(columns: Sequence[Array] | Array) -> Array:
    """Return columns ``[N, columns]`` with mean 0 and standard deviation 1; constant ones become 0."""
    values = np.asarray(columns, dtype=np.float32)
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _thresholds(column: Array) -> Array:
    values = np.unique(column)
    if len(values) > THRESHOLDS + 1:
        values = np.unique(np.quantile(column, np.linspace(0, 1, THRESHOLDS + 2), method="inverted_cdf"))
    return values[:-1] if len(values) > 1 else values


def _sizes(windows: Array) -> tuple[Array, Array]:
    size = windows.sum(axis=0)
    return size, len(windows) - size


def _entropy_term(observed: Array, expected: Array) -> Array:
    return observed * np.log(np.maximum(observed, 1e-12) / expected)


def _squared_distances(values: Array) -> Array:
    norms = np.square(values).sum(axis=1)
    return np.maximum(norms[:, None] + norms[None, :] - 2 * values @ values.T, 0)
