"""Distributions of the columns that moved most, for a person to see."""

from collections.abc import Sequence

import numpy as np

from reprune.drift.drift_report import Histogram
from reprune.drift.window_summary import Summary

MOVERS = 6
BINS = 20
NAMES = 12
"""Most categories that are drawn."""

OUTER = 0.005
"""Share of the values at either end that the picture leaves to its outermost bins."""


def histograms(names: Sequence[str], reference: Summary, window: Summary) -> tuple[Histogram, ...]:
    """Return the distributions of the first few of the named columns; other names are passed over."""
    places = {field.name: i for i, field in enumerate(reference.frame.fields)}
    return tuple(_histogram(reference, window, places[name]) for name in names if name in places)[:MOVERS]


def _histogram(reference: Summary, window: Summary, column: int) -> Histogram:
    field = reference.frame.fields[column]
    if field.categorical:
        names = (*field.categories, "other", "missing")
        counts = np.stack([summary.counts[column] for summary in (reference, window)])
        shares = counts / counts.sum(axis=1, keepdims=True)
        shown = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[:NAMES])
        shown = shown[shares[:, shown].max(axis=0) > 0]
        return Histogram(
            name=field.name,
            categorical=True,
            edges=(),
            categories=tuple(names[i] for i in shown),
            reference=tuple(shares[0, shown].tolist()),
            window=tuple(shares[1, shown].tolist()),
        )
    values = [part.sample[:, column] for part in (reference, window)]
    finite = [part[np.isfinite(part)] for part in values]
    pooled = np.concatenate(finite) if sum(map(len, finite)) else np.zeros(1)
    low, high = (float(np.quantile(pooled, q)) for q in (OUTER, 1 - OUTER))
    edges = np.histogram_bin_edges(np.array([low, high]), bins=BINS)
    shares = [
        np.histogram(part.clip(low, high), edges)[0] / len(rows) for part, rows in zip(finite, values, strict=True)
    ]
    return Histogram(
        name=field.name,
        categorical=False,
        edges=tuple(edges.tolist()),
        reference=tuple(shares[0].tolist()),
        window=tuple(shares[1].tolist()),
    )
