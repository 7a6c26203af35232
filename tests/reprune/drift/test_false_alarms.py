"""The stated false-alarm rate, over windows in which nothing drifted."""

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from reprune.config.drift import DriftPolicy
from reprune.drift.detect import compare
from reprune.drift.features import Column, Sample

WINDOWS = 300


def smallest_p_values(draw):
    """Windows and references dealt anew each time; returns the smallest adjusted p-value of each."""
    policy = DriftPolicy(false_alarm_rate=0.01, watch=("inputs", "predictions", "labels"))
    reports = (compare(*draw(np.random.default_rng(seed)), policy, seed=seed) for seed in range(WINDOWS))
    return np.array([min(test.adjusted_p_value for test in report.tests) for report in reports])


def assert_rates_hold(p_values):
    for rate in (0.01, 0.05):
        alarms = int((p_values <= rate).sum())
        assert binomtest(alarms, WINDOWS, rate).pvalue > 0.005, f"{alarms} of {WINDOWS} alarms at {rate:.0%}"


@pytest.mark.slow
def test_digits_raise_false_alarms_at_the_stated_rate(champion):
    digits = champion.sample(slice(None))

    def draw(rng):
        order = rng.permutation(len(digits))
        return digits.rows(order[:250]), digits.rows(order[250:350])

    p_values = smallest_p_values(draw)
    assert_rates_hold(p_values)
    # A rate that holds because nothing is ever detected would show as p-values that crowd at 1.
    assert kstest(p_values, "uniform").pvalue > 0.001


@pytest.mark.parametrize("examples", [30, 100])
def test_ties_skew_and_rare_categories_keep_the_rate(examples):
    columns = (
        *(Column(f"x{i}", "inputs") for i in range(8)),
        Column("constant", "inputs"),
        Column("class", "predictions", categorical=True),
    )

    def sample(rng, n):
        latent = rng.normal(size=(n, 1))
        correlated = latent + rng.normal(size=(n, 4)) / 2
        counts = rng.poisson(0.3, size=(n, 2))
        heavy = rng.standard_cauchy(size=(n, 2))
        rare = rng.choice(12, size=(n, 1), p=[0.9] + [0.1 / 11] * 11)
        values = np.concatenate([correlated, counts, heavy, np.ones((n, 1)), rare], axis=1)
        return Sample(columns, values.astype(np.float32), {})

    assert_rates_hold(smallest_p_values(lambda rng: (sample(rng, 150), sample(rng, examples))))
