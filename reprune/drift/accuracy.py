"""How often the model is right in a window: counted where labels are known, estimated from its confidence elsewhere."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from reprune.drift.drift_report import Quality
from reprune.drift.window_summary import Summary
from reprune.gate.confidence_intervals import mean_interval

CONFIDENT = 1.96
"""Half the width of a 95 % interval in standard errors."""

RESAMPLES = 100
FEWEST = 30
"""Fewest rows that anything is estimated from."""


def quality(reference: Summary, window: Summary, *, labelled: bool, seed: int = 0) -> Quality | None:
    """Return what is known of a window's accuracy; None where confidences or the reference's labels are missing.

    Confidence is calibrated on the reference by isotonic regression, and averaged over the window (Guillory et al.,
    2021, ICCV, who average it uncalibrated).

    Args:
        reference: With the columns ``confidence`` and ``correct``.
        window: With ``confidence``, and ``correct`` where labels are known.
        labelled: Whether to believe the window's labels.
        seed: Seed of the resamples.
    """
    known, right = _column(reference, "confidence"), _correct(reference)
    confidence, truth = _column(window, "confidence"), _correct(window) if labelled else None
    if known is None or right is None or confidence is None:
        return None
    usable, finite = ~np.isnan(known) & ~np.isnan(right), ~np.isnan(confidence)
    if min(usable.sum(), finite.sum()) < FEWEST:
        return None
    known, right, rng = known[usable], right[usable], np.random.default_rng(seed)
    estimated, interval = _estimate(known, right, confidence[finite], rng)
    found = Quality(reference=float(right.mean()), estimated=estimated, estimated_interval=interval)
    if truth is None:
        return found
    told = finite & ~np.isnan(truth)
    labels = int(told.sum())
    if labels < FEWEST:
        return found.model_copy(update={"labelled": labels})
    _, of_these = _estimate(known, right, confidence[told], rng)
    counted = mean_interval(truth[told])
    actual = counted.value
    return found.model_copy(
        update={
            "actual": actual,
            "actual_interval": (counted.low, counted.high),
            "labelled": labels,
            "agrees": of_these[0] <= actual <= of_these[1],
        }
    )


def _estimate(
    known: NDArray[np.float64], right: NDArray[np.float64], confidence: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Return the accuracy to expect, with an interval for calibration from few rows and for chance in these rows."""
    chances = _calibrated(known, right, confidence)
    means = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(known), len(known))
        means.append(_calibrated(known[drawn], right[drawn], confidence).mean())
    mean = float(chances.mean())
    error = CONFIDENT * float(np.sqrt(np.var(means) + (chances * (1 - chances)).sum() / len(chances) ** 2))
    return mean, (max(mean - error, 0.0), min(mean + error, 1.0))


def _calibrated(
    known: NDArray[np.float64], right: NDArray[np.float64], confidence: NDArray[np.float64]
) -> NDArray[np.float64]:
    levels, place, counts = np.unique(known, return_inverse=True, return_counts=True)
    shares = np.bincount(place, weights=right) / counts
    fitted = isotonic_regression(shares, weights=counts).x
    return np.interp(confidence, levels, fitted)


def _column(summary: Summary, name: str) -> NDArray[np.float64] | None:
    places = [i for i, field in enumerate(summary.frame.fields) if field.name == name and not field.categorical]
    return summary.sample[:, places[0]] if places else None


def _correct(summary: Summary) -> NDArray[np.float64] | None:
    """Return 1 where a prediction is right, 0 where not, NaN where that is unknown."""
    for i, field in enumerate(summary.frame.fields):
        if field.name == "correct" and field.categorical:
            names = np.array([*field.categories, ""])
            codes = summary.sample[:, i]
            found = names[np.nan_to_num(codes, nan=len(field.categories)).astype(np.int64)]
            return np.where(found == "yes", 1.0, np.where(found == "no", 0.0, np.nan))
    return None
