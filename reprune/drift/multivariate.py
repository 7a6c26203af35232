"""Two-sample statistics of several columns at once: what no column shows by itself."""

import numpy as np

from reprune.drift.statistics import RARER, Array, normal_scores, standardized, unit

RIDGE = 0.1
"""Added to the variance of each column, 1, where columns are predicted from one another."""

WIDEST = 2.0
"""Width of the widest of three Gaussian kernels, relative to the median distance; each other has half the width."""


BLOCKS = 4
"""Blocks that a kernel is cut into, so that what lies on one side of its diagonal need not be multiplied twice."""


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
        return _quadratic(windows, self._kernel) * np.square(unit(windows))


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
        return squared * np.square(unit(windows))


class Conditional:
    """Whether any column is distributed alike given all the others: the largest statistic of location or spread.

    A column's residual is what the others do not explain of it. Where columns are correlated, it varies less than the
    column, so that a shift of one column stands out more; and where a column no longer follows the others, its residual
    spreads. The largest squared difference of the means of residuals is the test of Cai, Liu & Xia (2014, JRSS B
    76:349), here with a ridge, and with normal scores before and after (van der Waerden's statistic, and Klotz's,
    which has a tenth of the false alarms).

    Args:
        values: Pooled examples, ``[N, columns]``; NaN where a value is missing, which counts as average here.
    """

    def __init__(self, values: Array) -> None:
        scores = np.where(np.isnan(values), 0, standardized(normal_scores(values)))
        # A column of the inverse is proportional to the residual's coefficients.
        inverse = np.linalg.inv(scores.T @ scores / len(scores) + RIDGE * np.eye(scores.shape[1]))
        residuals = normal_scores(_rounded(scores @ inverse))
        self._rows = np.concatenate([standardized(residuals), standardized(np.square(residuals))], axis=1)

    def __call__(self, windows: Array) -> Array:
        """Return the largest squared statistic for each labelling, ``[labellings, 1]``."""
        squared = np.square(windows @ self._rows) * unit(windows)
        location, spread = np.split(squared, 2, axis=1)
        return np.maximum(location, spread - RARER).max(axis=1, keepdims=True)


def _rounded(values: Array) -> Array:
    """Return values without their last digits, so that rows that are equal stay so wherever they stood in a product."""
    return np.round(values, 9)


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
