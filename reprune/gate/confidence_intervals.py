"""Paired comparisons of per-example scores, accuracies with intervals, and how many examples would settle a doubt."""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import stats

from reprune.gate import paired_test

RESAMPLES = 4000
LARGE_SAMPLE = 20_000
"""Examples beyond which a mean is normal enough, and the bootstrap adds nothing to Student's t."""

_CHUNK = 1 << 22


class Interval(BaseModel):
    """A number with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        confidence: Confidence of the interval, 0 to 1.
        examples: Examples it was estimated on.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    confidence: float
    examples: int


class Comparison(BaseModel):
    """A candidate against a reference on the same examples.

    Attributes:
        reference: Mean score of the reference.
        candidate: Mean score of the candidate.
        drop: ``reference - candidate``; negative where the candidate is better.
        low: Lower bound of the drop, one-sided at ``confidence``.
        high: Upper bound of the drop, one-sided at ``confidence``.
        confidence: Confidence of each bound alone.
        examples: Number of examples.
        lost: Examples that only the reference gets right; None where scores are not 0 or 1.
        gained: Examples that only the candidate gets right; None where scores are not 0 or 1.
        spread: Standard deviation of the differences.
    """

    model_config = ConfigDict(frozen=True)

    reference: float
    candidate: float
    drop: float
    low: float
    high: float
    confidence: float
    examples: int
    lost: int | None
    gained: int | None
    spread: float

    @property
    def value(self) -> float:
        """The drop."""
        return self.drop

    def examples_needed(self, tolerance: float, power: float = 0.8) -> int:
        """Return how many examples would show a drop within the tolerance, with the differences seen here.

        The drop is taken to be the one seen, or none where the candidate came out better: so many examples let an
        equal model pass with at least the power asked for. For 0/1 scores the rate of changed examples, which decides
        (Connor 1987, Biometrics 43:207), is drawn a little upwards, as in Agresti and Coull's interval.

        Args:
            tolerance: Largest drop allowed; it must exceed the drop seen.
            power: Chance to pass.
        """
        drop = max(self.drop, 0.0) if tolerance > 0 else self.drop
        assert drop < tolerance, "no number of examples shows a drop to be smaller than it is"
        variance = self.spread**2
        if self.lost is not None and self.gained is not None:
            variance = (self.lost + self.gained + 2) / (self.examples + 4) - drop**2
        z = stats.norm.isf(1 - self.confidence) + stats.norm.isf(1 - power)
        return math.ceil(z**2 * variance / (tolerance - drop) ** 2)


def is_binary(scores: np.ndarray) -> bool:
    """Return whether every score is 0 or 1."""
    return bool(np.isin(scores, (0.0, 1.0)).all())


def mean_interval(scores: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return a mean score with its two-sided interval.

    0/1 scores have Wilson's (1927, JASA 22:209), others Student's.

    Args:
        scores: Scores, ``[N]``.
        confidence: Confidence of the interval.
    """
    count, value = len(scores), float(np.mean(scores))
    if is_binary(scores):
        z = stats.norm.isf((1 - confidence) / 2)
        centre = (value + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * math.sqrt(value * (1 - value) / count + z**2 / (4 * count**2))
        low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    elif count < 2:
        low, high = -math.inf, math.inf
    else:
        half = float(stats.t.isf((1 - confidence) / 2, count - 1) * np.std(scores, ddof=1) / math.sqrt(count))
        low, high = value - half, value + half
    # rounding must not put the estimate outside its own interval
    return Interval(value=value, low=min(low, value), high=max(high, value), confidence=confidence, examples=count)


def compare(reference: np.ndarray, candidate: np.ndarray, confidence: float = 0.95, *, seed: int = 0) -> Comparison:
    """Compare two models by their scores on the same examples.

    0/1 scores: the bounds of `reprune.gate.paired_test`. Others: the wider of Student's paired t and the BCa bootstrap
    (Efron 1987, JASA 82:171), so that neither a skewed nor a small sample passes on the strength of one of them.

    Args:
        reference: Scores of the reference, ``[N]``.
        candidate: Scores of the candidate, ``[N]``, in the same order.
        confidence: Confidence of each of the two bounds of the drop alone.
        seed: Seed of the bootstrap.
    """
    assert reference.shape == candidate.shape and reference.ndim == 1 and len(reference)
    differences = reference.astype(np.float64) - candidate.astype(np.float64)
    count = len(differences)
    lost = gained = None
    if is_binary(reference) and is_binary(candidate):
        lost, gained = int((differences > 0).sum()), int((differences < 0).sum())
        low, high = paired_test.drop_interval(lost, gained, count, confidence)
    else:
        low, high = _mean_bounds(differences, confidence, seed)
    return Comparison(
        reference=float(reference.mean()),
        candidate=float(candidate.mean()),
        drop=float(differences.mean()),
        low=low,
        high=high,
        confidence=confidence,
        examples=count,
        lost=lost,
        gained=gained,
        spread=float(differences.std(ddof=1)) if count > 1 else 0.0,
    )


def p_value_of_harm(reference: np.ndarray, candidate: np.ndarray, tolerance: float) -> float:
    """Return the p-value of "the drop is within the tolerance": small where the candidate is shown to have lost more.

    Args:
        reference: Scores of the reference, ``[N]``.
        candidate: Scores of the candidate, ``[N]``.
        tolerance: Largest drop allowed.
    """
    differences = reference.astype(np.float64) - candidate.astype(np.float64)
    if is_binary(reference) and is_binary(candidate):
        lost, gained = int((differences > 0).sum()), int((differences < 0).sum())
        return paired_test.p_value(gained, lost, len(differences), -tolerance)
    spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
    if spread == 0:
        return 0.0 if differences.mean() > tolerance and len(differences) > 1 else 1.0
    t = (differences.mean() - tolerance) / spread * math.sqrt(len(differences))
    return float(stats.t.sf(t, len(differences) - 1))


def holm(p_values: list[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979, Scand. J. of Statistics 6:65), in their order."""
    order = np.argsort(p_values)
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = running
    return adjusted


def _mean_bounds(differences: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    """Return one-sided bounds of a mean, each at the confidence."""
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return -math.inf, math.inf
    spread = float(differences.std(ddof=1))
    if spread == 0:
        return mean, mean
    half = float(stats.t.isf(1 - confidence, count - 1)) * spread / math.sqrt(count)
    if count > LARGE_SAMPLE:
        return mean - half, mean + half
    low, high = _bca(differences, confidence, seed)
    return min(low, mean - half), max(high, mean + half)


def _bca(values: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    """Return the BCa bounds of a mean; its acceleration is known in closed form, a sixth of the mean's skewness."""
    rng, count = np.random.default_rng(seed), len(values)
    rows = max(_CHUNK // count, 1)
    parts = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    means = np.concatenate([values[rng.integers(count, size=(part, count))].mean(axis=1) for part in parts])
    below = np.clip(
        (means < values.mean()).mean() + (means == values.mean()).mean() / 2, 1 / RESAMPLES, 1 - 1 / RESAMPLES
    )
    bias = stats.norm.ppf(below)
    acceleration = float(stats.skew(values)) / (6 * math.sqrt(count))
    shifted = bias + stats.norm.ppf([1 - confidence, confidence])
    levels = stats.norm.cdf(bias + shifted / np.maximum(1 - acceleration * shifted, 1e-6))
    low, high = np.quantile(means, levels)
    return float(low), float(high)
