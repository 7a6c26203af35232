"""Medians, quantiles and ratios of interleaved timings, with bootstrap intervals that respect rounds and sessions."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.inference.latency.timing import Samples

RESAMPLES = 1000
QUANTILE_RESAMPLES = 300
CONFIDENCE = 0.95


class Estimate(BaseModel):
    """A number with its 95 % confidence interval."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    value: float
    low: float
    high: float

    def inverse(self) -> "Estimate":
        """Return one over the number: a speed-up from a ratio of latencies."""
        return Estimate(value=1 / self.value, low=1 / self.high, high=1 / self.low)


def quotient(top: Estimate, bottom: Estimate) -> Estimate:
    """Return the ratio of two estimates, with an interval as if they were independent.

    Distances are added in squares on the logarithm's scale. Timings of one round go up and down together, which makes
    the true interval narrower: this one errs on the side of caution.
    """
    value = top.value / bottom.value
    down = math.hypot(math.log(top.value / top.low), math.log(bottom.high / bottom.value))
    up = math.hypot(math.log(top.high / top.value), math.log(bottom.value / bottom.low))
    return Estimate(value=value, low=value * math.exp(-down), high=value * math.exp(up))


@dataclass(frozen=True)
class Recording:
    """Raw samples of interleaved rounds.

    Attributes:
        samples: Durations by model.
        session_of_round: Which session of the models each round ran in, ``[rounds]``.
    """

    samples: dict[str, Samples]
    session_of_round: np.ndarray

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the samples of a benchmark from its ``.npz`` file."""
        with np.load(path, allow_pickle=False) as file:
            samples = {
                str(name): Samples(file[f"seconds_{i}"].tolist(), file[f"rounds_{i}"].tolist())
                for i, name in enumerate(file["names"])
            }
            return cls(samples, file["session_of_round"])

    def as_json(self) -> dict[str, Any]:
        """Return the samples as JSON can hold them: the session of each round, seconds and rounds of each model."""
        models = {name: {"seconds": it.seconds, "rounds": it.rounds} for name, it in self.samples.items()}
        return {"session_of_round": self.session_of_round.tolist(), "models": models}


def quantiles(record: Samples, shares: tuple[float, ...], rng: np.random.Generator) -> list[Estimate]:
    """Return quantiles of one model's calls.

    Whole rounds are resampled: calls of one round were slow or fast together and are not independent.
    """
    seconds, rounds = np.asarray(record.seconds), np.asarray(record.rounds)
    order = np.argsort(seconds)
    _, rounds = np.unique(rounds[order], return_inverse=True)
    seconds, count = seconds[order], int(rounds.max()) + 1
    draws = rng.multinomial(count, np.full(count, 1 / count), size=QUANTILE_RESAMPLES)
    found = np.empty((QUANTILE_RESAMPLES, len(shares)))
    for row, draw in zip(found, draws, strict=True):
        weight = np.cumsum(draw[rounds])
        row[:] = seconds[np.searchsorted(weight, np.array(shares) * weight[-1])]
    return [_estimate(float(np.quantile(seconds, share)), found[:, i]) for i, share in enumerate(shares)]


def ratio(record: Samples, baseline: Samples, session_of_round: np.ndarray, rng: np.random.Generator) -> Estimate:
    """Return the median over rounds of one model's latency divided by the baseline's in the same round.

    The interval comes from a bootstrap of two levels, sessions and then their rounds (Davison and Hinkley 1997, 3.8):
    a session that happened to be fast stays fast for all its rounds.
    """
    ratios = record.round_medians() / baseline.round_medians()
    sessions = [ratios[session_of_round == session] for session in np.unique(session_of_round)]
    found = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        chosen = rng.integers(len(sessions), size=len(sessions))
        found[i] = np.median(np.concatenate([rng.choice(sessions[j], size=len(sessions[j])) for j in chosen]))
    return _estimate(float(np.median(ratios)), found)


def noise(control: Samples, baseline: Samples, session_of_round: np.ndarray, rng: np.random.Generator) -> Estimate:
    """Return how far from 1 the ratio of two identical models came, as an interval around it.

    It spans the bootstrap interval and the median of every single session, and is symmetric: which of two identical
    models is called the baseline is arbitrary.
    """
    spread = ratio(control, baseline, session_of_round, rng)
    ratios = control.round_medians() / baseline.round_medians()
    medians = [float(np.median(ratios[session_of_round == session])) for session in np.unique(session_of_round)]
    widest = max(max(value, 1 / value) for value in (spread.low, spread.high, *medians))
    return Estimate(value=spread.value, low=1 / widest, high=widest)


def _estimate(value: float, resampled: np.ndarray) -> Estimate:
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value))
