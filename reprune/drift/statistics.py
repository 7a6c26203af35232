"""Two-sample statistics, each computed for many labellings of the same pooled examples at once.

A labelling says which of the pooled examples are the window's. Every statistic here is a function of the pooled
examples and a labelling, so that the observed one can be compared with what chance labellings give (see `permutation`).
Columns are centred over the pooled examples first: the sum over the window then says all, since that over the rest is
its opposite.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.floating[Any]]

THRESHOLDS = 32
"""Places at which the two distribution functions of a number are compared."""

SPREAD = 1.25
"""Weight of a change of spread. One of location counts 1, and another 1/2 in Anderson-Darling's, so this is a little
less: who looks for both pays for both, and locations change more often."""

WIDEST = 2.0
"""Width of the widest of three Gaussian kernels, relative to the median distance; each other has half the width."""


BLOCKS = 4
"""Blocks that a kernel is cut into, so that what lies on one side of its diagonal need not be multiplied twice."""


class Statistic(Protocol):
    """One or several statistics of pooled examples."""

    def __call__(self, windows: Array) -> Array:
        """Return ``[labellings, statistics]`` for labellings ``[labellings, N]``: 1 in the window, 0 elsewhere."""


class AndersonDarlingKlotz:
    """Whether a number is distributed alike in both samples, for each column.

    The larger of two. One is Anderson-Darling's squared distance between the distribution functions (Scholz &
    Stephens, 1987, JASA 82:918), which sees any difference, and the square of van der Waerden's standardized statistic
    of location. The other is the square of Klotz's statistic of spread (1962, Annals of Mathematical Statistics
    33:498), without which few changes of spread would be found. Those of location and spread are sums of normal scores
    and of their squares: where the column is normal, as powerful as the best tests of its mean and its variance.

    The functions are compared at the column's own values where those are few (pixels, counts), and at quantiles of the
    pooled column otherwise. A missing value counts as one above all others, so values that go missing are drift like
    any other.

    Args:
        values: Pooled examples, ``[N, columns]``; NaN where a value is missing.
    """

    def __init__(self, values: Array) -> None:
        thresholds = [_thresholds(column) for column in values.T]
        self._starts = np.cumsum([0, *(len(t) for t in thresholds[:-1])])
        below = np.concatenate([column[None, :] <= t[:, None] for column, t in zip(values.T, thresholds, strict=True)])
        share = below.mean(axis=1)
        mass = np.concatenate([np.diff(part, prepend=0) for part in np.split(share, self._starts[1:])])
        # A constant column has one threshold, at the end, where both functions are 1 and nothing can differ.
        weights = np.sqrt(mass / np.maximum(share * (1 - share), 1e-12)) * (share < 1)
        scores = normal_scores(values)
        rows = [(below.T - share) * weights, standardized(scores), standardized(np.square(scores))]
        self._rows = np.concatenate(rows, axis=1, dtype=np.float32, casting="same_kind")

    def __call__(self, windows: Array) -> Array:
        """Return the statistic of each column, ``[labellings, columns]``."""
        squared = np.square(windows @ self._rows) * _unit(windows)
        columns = len(self._starts)
        functions, location, spread = np.split(squared, [-2 * columns, -columns], axis=1)
        return np.maximum(np.add.reduceat(functions, self._starts, axis=1) + location, SPREAD * spread)


class ChiSquare:
    """Pearson's chi-square of a contingency table, category against sample.

    With a permutation null, categories with small counts need no merging, and a new category counts like any other.

    Args:
        values: Pooled categories, ``[N]``, from 0; a missing one (NaN) counts as a category.
    """

    def __init__(self, values: Array) -> None:
        _, codes, counts = np.unique(np.nan_to_num(values, nan=-1), return_inverse=True, return_counts=True)
        share = counts / len(values)
        self._rows = ((codes[:, None] == np.arange(len(counts))) - share).astype(np.float32)
        self._weights = (1 / share).astype(np.float32)

    def __call__(self, windows: Array) -> Array:
        """Return chi-square for each labelling, ``[labellings, 1]``."""
        return (np.square(windows @ self._rows) @ self._weights)[:, None] * _unit(windows)


class MaximumMeanDiscrepancy:
    """The squared distance between the mean embeddings of two samples (Gretton et al., 2012, JMLR 13:723).

    Biased estimate under a sum of Gaussian kernels around the median distance of the pooled sample.

    Args:
        values: Pooled examples, ``[N, columns]``, on a common scale.
    """

    def __init__(self, values: Array) -> None:
        squared = _squared_distances(values)
        median = float(np.median(squared)) or 1.0
        wide = np.exp(squared / np.float32(-2 * WIDEST**2 * median))
        # The same exponential at half the width, twice: its fourth power, and the fourth power of that.
        middle = np.square(np.square(wide))
        self._kernel = _centred((wide + middle + np.square(np.square(middle))) / 3)

    def __call__(self, windows: Array) -> Array:
        """Return the squared discrepancy for each labelling, ``[labellings, 1]``."""
        return _quadratic(windows, self._kernel) * np.square(_unit(windows))


class Dependence:
    """The squared distance between the matrices of correlations of two samples, their diagonals left out.

    Correlations of normal scores over the pooled sample, so that no single heavy-tailed column decides (compare Larntz
    & Perlman, 1985, University of Washington technical report 81). Which columns go together can change while no column
    does, and Gaussian kernels see little of it.

    Args:
        values: Pooled examples, ``[N, columns]``; NaN where a value is missing, which counts as average here.
    """

    def __init__(self, values: Array) -> None:
        scores = np.where(np.isnan(values), 0, standardized(normal_scores(values)))
        one, other = np.triu_indices(scores.shape[1], k=1)
        self._products = len(one) <= len(scores)
        if self._products:
            products = scores[:, one] * scores[:, other]
            self._rows = (products - products.mean(axis=0)).astype(np.float32)
        else:  # the same, by the products of examples, which are fewer
            squares = np.square(scores)
            self._rows = _centred((np.square(scores @ scores.T) - squares @ squares.T) / 2)

    def __call__(self, windows: Array) -> Array:
        """Return the squared distance for each labelling, ``[labellings, 1]``."""
        if self._products:
            squared = np.square(windows @ self._rows).sum(axis=1, keepdims=True)
        else:
            squared = _quadratic(windows, self._rows)
        return squared * np.square(_unit(windows))


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


def _thresholds(column: Array) -> Array:
    known = column[~np.isnan(column)]
    values = np.unique(known)
    if len(values) > THRESHOLDS + 1:
        values = np.unique(np.quantile(known, np.linspace(0, 1, THRESHOLDS + 2), method="inverted_cdf"))
    if len(known) == len(column):
        values = values[:-1] if len(values) > 1 else values
    return values if len(values) else np.zeros(1, dtype=column.dtype)


def _unit(windows: Array) -> Array:
    """Return 1/n + 1/m of each labelling, ``[labellings, 1]``.

    The sum of a centred column over the window, times this, is the difference of the means in window and rest. The
    square of the sum, times this, is about 1 by chance where the column is standardized.
    """
    size = windows.sum(axis=1, keepdims=True)
    return 1 / size + 1 / (windows.shape[1] - size)


def _quadratic(windows: Array, kernel: Array) -> Array:
    """Return w' K w of each labelling, ``[labellings, 1]``, block by block of K: of a symmetric one half is enough."""
    found = np.zeros((len(windows), 1), dtype=np.float32)
    size = -(-len(kernel) // BLOCKS)
    for start in range(0, len(kernel), size):
        end = start + size
        ahead = windows[:, start:end] @ kernel[start:end, start:]
        ahead[:, size:] *= 2
        found[:, 0] += np.einsum("ij,ij->i", ahead, windows[:, start:])
    return found


def _centred(kernel: Array) -> Array:
    kernel = kernel.astype(np.float32, copy=False)
    mean = kernel.mean(axis=0, dtype=np.float64).astype(np.float32)
    kernel -= mean
    kernel -= kernel.mean(axis=1, dtype=np.float64).astype(np.float32)[:, None]
    return kernel


def _squared_distances(values: Array) -> Array:
    norms = np.square(values).sum(axis=1)
    return np.maximum(norms[:, None] + norms[None, :] - 2 * values @ values.T, 0)
