"""Whether a probability means what it says: reliability, expected calibration error, and its paired change."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.gate.confidence_intervals import Comparison

BINS = 10
FOLDS = 10
RESAMPLES = 1000


class Bin(BaseModel):
    """Examples of about the same confidence.

    Attributes:
        confidence: Their mean confidence.
        accuracy: Share of them that is right.
        examples: Their number.
    """

    model_config = ConfigDict(frozen=True)

    confidence: float
    accuracy: float
    examples: int


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Return the reliability diagram, with equally wide bins (Guo et al. 2017, arXiv:1706.04599); empty bins left out.

    Args:
        confidence: Probability of the predicted class, ``[N]``.
        correct: Whether the prediction is right, ``[N]``.
        bins: Number of bins between 0 and 1.
    """
    place = _bins(confidence, bins)
    return [
        Bin(
            confidence=float(confidence[inside].mean()),
            accuracy=float(correct[inside].mean()),
            examples=int(inside.sum()),
        )
        for inside in (place == number for number in range(bins))
        if inside.any()
    ]


def expected_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean distance between confidence and accuracy over the bins."""
    return sum(it.examples * abs(it.confidence - it.accuracy) for it in bins) / sum(it.examples for it in bins)


def calibration_rise(
    dense_confidence: np.ndarray,
    dense_correct: np.ndarray,
    confidence: np.ndarray,
    correct: np.ndarray,
    level: float,
    *,
    seed: int = 0,
) -> Comparison:
    """Compare the calibration errors of candidate and dense on the same examples.

    The error of few examples is too large by what chance alone puts into each bin, and by more for the model that is
    calibrated better: the difference of two such errors hides a rise. So here the sign of each bin's gap is taken from
    the other folds, and the gap from the fold itself: chance then has no sign and averages out. The spread comes from a
    paired bootstrap (the same examples drawn for both), and the bounds are normal quantiles of it.

    Args:
        dense_confidence: Confidence of the dense model, ``[N]``.
        dense_correct: Whether the dense model is right, ``[N]``.
        confidence: Confidence of the candidate, ``[N]``.
        correct: Whether the candidate is right, ``[N]``.
        level: Confidence of each bound alone.
        seed: Seed of folds and bootstrap.

    Returns:
        A comparison whose ``reference`` is the candidate's error and whose ``candidate`` is the dense model's, so that
        ``drop`` is the rise.
    """
    from scipy import stats

    count, rng = len(confidence), np.random.default_rng(seed)
    folds = rng.permutation(count) % FOLDS
    models = [
        (folds * BINS + _bins(sure, BINS), sure - right)
        for sure, right in ((confidence, correct), (dense_confidence, dense_correct))
    ]
    candidate, dense = (_crossed(*model) for model in models)
    rises = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = rng.integers(count, size=count)
        after, before = (_crossed(cells[drawn], gaps[drawn]) for cells, gaps in models)
        rises[i] = after - before
    spread = float(rises.std(ddof=1))
    half = float(stats.norm.ppf(level)) * spread
    return Comparison(
        reference=candidate,
        candidate=dense,
        drop=candidate - dense,
        low=candidate - dense - half,
        high=candidate - dense + half,
        confidence=level,
        examples=count,
        lost=None,
        gained=None,
        spread=spread * count**0.5,
    )


def _crossed(cells: np.ndarray, gaps: np.ndarray) -> float:
    """Return the calibration error with the sign of each bin's gap taken from the other folds.

    Args:
        cells: Fold and bin of each example, ``fold * BINS + bin``, ``[N]``.
        gaps: Confidence minus whether it is right, ``[N]``.
    """
    sums = np.bincount(cells, weights=gaps, minlength=FOLDS * BINS).reshape(FOLDS, BINS)
    return float((np.sign(sums.sum(axis=0) - sums) * sums).sum() / len(gaps))


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
