"""An example of any shape as a few numbers, one column a number: what data checks and drift tests look at."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

Columns = dict[str, NDArray[np.float32]]
"""Columns by name, ``[N]`` each."""

SIGNIFICANT_BITS = 16


def summaries(values: Array) -> Columns:
    """Return the mean, spread, extremes, roughness, and the shares of zeros and missing values of each example.

    Roughness is the mean absolute difference of neighbours along the last dimensions (rows and columns of an image,
    steps of a sequence); noise raises it, blur lowers it.

    Args:
        values: ``[N, ...]``, of any real type.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    missing = np.isnan(flat)
    known = (~missing).sum(axis=1).clip(min=1)
    mean = np.nansum(flat, axis=1) / known
    spread = np.sqrt(np.nansum((flat - mean[:, None]) ** 2, axis=1) / known)
    columns = {
        "mean": mean,
        "std": spread,
        "min": np.where(missing, np.inf, flat).min(axis=1),
        "max": np.where(missing, -np.inf, flat).max(axis=1),
        "roughness": _roughness(values.astype(np.float64)),
        "zeros": (flat == 0).mean(axis=1),
        "missing": missing.mean(axis=1),
    }
    return {name: numbers(column) for name, column in columns.items()}


def numbers(values: Array) -> NDArray[np.float32]:
    """Return values as float32, cut to 16 significant bits, so that another machine's rounding is no difference."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2**SIGNIFICANT_BITS), exponent - SIGNIFICANT_BITS).astype(np.float32)


def _roughness(values: Array) -> Array:
    dimensions = range(max(1, values.ndim - 2), values.ndim)
    steps = [np.abs(np.diff(values, axis=d)).reshape(len(values), -1) for d in dimensions if values.shape[d] > 1]
    if not steps:
        return np.zeros(len(values))
    with np.errstate(invalid="ignore"):  # where no two neighbours are known, there is no roughness
        means = [np.nansum(step, axis=1) / (~np.isnan(step)).sum(axis=1) for step in steps]
    return np.asarray(np.mean(means, axis=0))
