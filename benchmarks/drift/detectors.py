"""Drift detectors to compare: reprune, and the tests that its peers use."""

import numpy as np
from scipy import stats

CATEGORICAL = ("plan", "predicted_class")


def reprune(reference, window, seed):
    """Return reprune's smallest adjusted p-value."""
    from reprune.config.drift import DriftPolicy

    frame = binning(reference)
    before, now = (summary(rows, frame, "rows") for rows in (reference, window))
    return judge(before, now, DriftPolicy(false_alarm_rate=0.01), seed=seed).tests[0].adjusted_p_value


def judge(reference, window, policy, *, seed):
    """Return reprune's drift report."""
    from reprune.drift import two_sample

    return two_sample.judge(reference, window, policy, seed=seed)


def binning(reference):
    """Return the bins that a reference's columns give."""
    from reprune.drift.binning import Frame

    return Frame.of(_columns(reference))


def summary(rows, frame, source):
    """Return the summary of the columns of a window."""
    from reprune.drift.columns import Chunk
    from reprune.drift.window_summary import summarize

    return summarize([Chunk(_columns(rows), source)], frame)


def _columns(rows):
    from reprune.drift.columns import Categories

    return {
        name: Categories.of([f"{v:.0f}" for v in values]) if name in CATEGORICAL else values
        for name, values in rows.items()
    }


def bonferroni(reference, window, seed):
    """Return the smallest p-value of scipy's tests times the number of tests."""
    p_values = [
        _chi_square(reference[name], values) if name in CATEGORICAL else stats.ks_2samp(reference[name], values).pvalue
        for name, values in window.items()
    ]
    return min(1.0, min(p_values) * len(p_values))


def psi(reference, window, seed):
    """Return the largest population stability index over the reference's deciles."""
    return max(
        _psi(*_category_shares(reference[name], values))
        if name in CATEGORICAL
        else _psi(*_decile_shares(reference[name], values))
        for name, values in window.items()
    )


def wasserstein(reference, window, seed):
    """Return the largest Wasserstein distance in the reference's standard deviations.

    Categorical columns are left out.
    """
    return max(
        stats.wasserstein_distance(reference[name], values) / (reference[name].std() or 1)
        for name, values in window.items()
        if name not in CATEGORICAL
    )


def _chi_square(before, now):
    table = np.stack([[(part == c).sum() for c in np.unique(np.concatenate([before, now]))] for part in (before, now)])
    return stats.chi2_contingency(table).pvalue if table.shape[1] > 1 else 1.0


def _category_shares(before, now):
    names = np.unique(np.concatenate([before, now]))
    return [np.array([(part == c).mean() for c in names]) for part in (before, now)]


def _decile_shares(before, now):
    edges = np.quantile(before, np.linspace(0, 1, 11)[1:-1])
    return [np.bincount(np.searchsorted(edges, part), minlength=10) / len(part) for part in (before, now)]


def _psi(before, now):
    before, now = np.maximum(before, 1e-4), np.maximum(now, 1e-4)
    return float(((now - before) * np.log(now / before)).sum())
