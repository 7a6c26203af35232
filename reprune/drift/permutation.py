"""Many tests at once with one stated false-alarm rate: the joint permutation null.

If nothing drifted, every way of dealing the pooled examples to reference and window is as likely as the one observed.
So all statistics are computed again for many random deals, and the largest of them, on one scale, is compared with the
largest observed (Westfall & Young, 1993, "Resampling-based multiple testing", maxT). This holds the family-wise rate
exactly, at any sample size, with ties and correlated tests, where Holm's correction of asymptotic p-values would be
too timid for correlated pixels and wrong for tied ones.

Tests are of kinds, and kinds belong to groups. Each group has a share of the false alarms by its weight, and each kind
a share of its group's by its own: otherwise a hundred pixels would leave nothing for the one test of their
correlations, or of the predicted class. Tests of one kind that are correlated, and so say the same, cost what they say
once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reprune.drift.statistics import Array, Statistic

CHUNK = 500
EXCEEDANCES = 20
"""Chance deals expected beyond the threshold: enough to place it."""

USUAL = 0.99
"""Share of the deals that the scale of a statistic is taken from."""


class Kind(NamedTuple):
    """Of which tests a test is one."""

    group: str
    name: str
    weight: float = 1.0
    """Its share of the group's false alarms, relative to that of other kinds."""


@dataclass(frozen=True)
class Calibrated:
    """Statistics with what chance makes of them, one entry per statistic.

    Attributes:
        observed: The statistics as observed.
        thresholds: What each must exceed to raise the alarm.
        p_values: Share of deals with at least this statistic, each test on its own.
        adjusted_p_values: Share of deals in which *any* test looks at least as extreme; an alarm where this is at most
            the false-alarm rate.
    """

    observed: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    p_values: NDArray[np.float64]
    adjusted_p_values: NDArray[np.float64]


def calibrate(
    statistics: Sequence[Statistic],
    kinds: Sequence[Kind],
    *,
    reference: int,
    window: int,
    false_alarm_rate: float,
    seed: int,
    groups: Mapping[str, float] | None = None,
) -> Calibrated:
    """Compare statistics of pooled examples with their joint permutation null.

    Args:
        statistics: Functions of a labelling; the pooled examples are the reference's followed by the window's.
        kinds: Of each test that the statistics return.
        reference: Examples of the reference.
        window: Examples of the window.
        false_alarm_rate: Chance that any statistic exceeds its threshold while nothing drifted.
        seed: Seed of the deals.
        groups: Weights of groups among all false alarms, where they are not 1.
    """
    deals = permutations(false_alarm_rate)
    rng = np.random.default_rng(seed)
    observed = np.repeat(np.array([0, 1], dtype=np.float32), [reference, window])[None, :]
    rows = [_evaluate(statistics, observed)]
    for start in range(0, deals, CHUNK):
        rows.append(_evaluate(statistics, _deal(rng, min(CHUNK, deals - start), reference, window)))
    values = np.concatenate(rows).astype(np.float64)

    surprise, scales = _one_scale(values)
    handicaps = _handicaps(surprise, kinds, groups or {}, false_alarm_rate)
    surprise -= handicaps
    largest = np.sort(surprise[1:].max(axis=1))[::-1]
    beyond = math.floor(false_alarm_rate * (deals + 1))
    return Calibrated(
        observed=values[0],
        thresholds=scales.value_at(largest[beyond - 1] + handicaps),
        p_values=(values >= values[0]).mean(axis=0),
        adjusted_p_values=(1 + np.searchsorted(-largest, -surprise[0], side="right")) / (deals + 1),
    )


def permutations(false_alarm_rate: float) -> int:
    """Return how many deals place a threshold for this rate: 1,999 for 1 %."""
    return max(math.ceil(EXCEEDANCES / false_alarm_rate) - 1, 999)


def _deal(rng: np.random.Generator, deals: int, reference: int, window: int) -> Array:
    """Return random labellings, ``[deals, N]``: the window's are the examples that drew the smallest numbers."""
    drawn = rng.integers(0, 1 << 32, (deals, reference + window), dtype=np.uint32)
    last = np.partition(drawn, window - 1, axis=1)[:, window - 1 : window]
    return (drawn <= last).astype(np.float32)


def _evaluate(statistics: Sequence[Statistic], windows: Array) -> Array:
    return np.concatenate([statistic(windows) for statistic in statistics], axis=1)


@dataclass(frozen=True)
class _Gamma:
    """Gamma distributions with the mean and variance of each statistic's null.

    They only put statistics of different kinds on one scale, so that no test is crowded out; the error rate rests on
    the deals alone.
    """

    shape: NDArray[np.float64]
    scale: NDArray[np.float64]

    def surprise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):  # beyond what a float tells from zero, surprise is infinite
            return -np.log(special.gammaincc(self.shape, values / self.scale))

    def value_at(self, surprise: NDArray[np.float64]) -> NDArray[np.float64]:
        return special.gammainccinv(self.shape, np.exp(-np.maximum(surprise, 0))) * self.scale


def _handicaps(
    surprise: NDArray[np.float64], kinds: Sequence[Kind], groups: Mapping[str, float], rate: float
) -> NDArray[np.float64]:
    """Return what is taken off each surprise, so that groups, and kinds in them, are beyond 0 by their weights.

    What was observed is counted as one deal more, so that it is treated like every other.
    """
    members = {kind: [k for k, other in enumerate(kinds) if other == kind] for kind in kinds}
    largest = {kind: surprise[:, tests].max(axis=1) for kind, tests in members.items()}
    alone = {kind: float(np.quantile(values, 1 - rate)) - math.log(kind.weight) for kind, values in largest.items()}
    reached: dict[str, list[NDArray[np.float64]]] = {}
    for kind, values in largest.items():
        reached.setdefault(kind.group, []).append(values - alone[kind])
    together = {
        group: float(np.quantile(np.max(values, axis=0), 1 - rate)) - math.log(groups.get(group, 1.0))
        for group, values in reached.items()
    }
    return np.array([alone[kind] + together[kind.group] for kind in kinds])


def _one_scale(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], _Gamma]:
    # What was observed may lie far outside the null: cut off, so that it does not set the scale that it is put on.
    usual = np.minimum(values, np.quantile(values, USUAL, axis=0))
    usual = np.where(usual.var(axis=0) > 0, usual, values)
    mean, variance = usual.mean(axis=0), usual.var(axis=0)
    constant = variance <= 1e-12 * np.square(mean)
    mean, variance = np.where(constant, 1, mean), np.where(constant, 1, variance)
    gamma = _Gamma(shape=mean**2 / variance, scale=variance / mean)
    surprise = gamma.surprise(values)
    surprise[:, constant] = 0
    return surprise, gamma
