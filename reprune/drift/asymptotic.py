"""Tests of counts too large to be dealt again and again: their limiting distributions, with Bonferroni's correction."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reprune.drift.permutation import Calibrated
from reprune.drift.window_summary import Summary

EXPECTED = 5.0
"""Least count expected of a category that is tested on its own; rarer ones are put together (Cochran, 1954)."""


def calibrate(reference: Summary, window: Summary, columns: Sequence[int], *, false_alarm_rate: float) -> Calibrated:
    """Test columns one by one on all rows.

    Args:
        reference: Its counts, and those of the window, are compared.
        window: In the same frame.
        columns: Which columns.
        false_alarm_rate: Chance that any statistic exceeds its threshold while nothing drifted.
    """
    each = false_alarm_rate / len(columns)
    found = []
    for column in columns:
        before, now = reference.counts[column].astype(np.float64), window.counts[column].astype(np.float64)
        test = _chi_square if reference.frame.fields[column].categorical else _kolmogorov_smirnov
        found.append(test(before, now, each))
    observed, thresholds, p_values = np.array(found, dtype=np.float64).T
    return Calibrated(observed, thresholds, p_values, np.minimum(p_values * len(columns), 1))


def _kolmogorov_smirnov(
    before: NDArray[np.float64], now: NDArray[np.float64], rate: float
) -> tuple[float, float, float]:
    """Return distance, threshold and p-value; between bins the distance is not seen, so this errs to fewer alarms."""
    n, m = before.sum(), now.sum()
    effective = np.sqrt(n * m / (n + m))
    distance = np.abs(np.cumsum(before / n - now / m)).max()
    return float(distance), float(special.kolmogi(rate) / effective), float(special.kolmogorov(distance * effective))


def _chi_square(before: NDArray[np.float64], now: NDArray[np.float64], rate: float) -> tuple[float, float, float]:
    table = _with_rare_ones_merged(np.stack([before, now]))
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float((np.square(table - expected) / expected).sum())
    freedom = max(table.shape[1] - 1, 1)
    return statistic, float(special.chdtri(freedom, rate)), float(special.chdtrc(freedom, statistic))


def _with_rare_ones_merged(table: NDArray[np.float64]) -> NDArray[np.float64]:
    table = table[:, table.sum(axis=0) > 0]
    rare = table.sum(axis=0) * table.sum(axis=1).min() / table.sum() < EXPECTED
    merged = table[:, rare].sum(axis=1, keepdims=True)
    return np.concatenate([table[:, ~rare], merged], axis=1) if merged.sum() else table
