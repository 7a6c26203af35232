"""The stated error rates hold: counted out over every table that can happen, not sampled."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from reprune.gate import paired_test

ALPHA = 0.05


def chance_to_pass(examples: int, drop: float, gained_rate: float, tolerance: float) -> float:
    """Sum the probability of every table whose bound clears the tolerance."""
    lost_rate = gained_rate + drop
    most = int(stats.binom.isf(1e-9, examples, max(lost_rate, gained_rate))) + 2
    return sum(
        chance
        for lost in range(min(most, examples) + 1)
        for gained in range(min(most, examples - lost) + 1)
        if (chance := multinomial(examples, lost, gained, lost_rate, gained_rate)) > 1e-10
        and lost - gained < examples * tolerance
        and p_value(lost, gained, examples, tolerance) <= ALPHA
    )


@functools.cache
def p_value(lost: int, gained: int, examples: int, drop: float) -> float:
    return paired_test.p_value(lost, gained, examples, drop)


def multinomial(examples: int, lost: int, gained: int, lost_rate: float, gained_rate: float) -> float:
    rest = gained_rate / (1 - lost_rate)
    return float(stats.binom.pmf(lost, examples, lost_rate) * stats.binom.pmf(gained, examples - lost, rest))


@pytest.mark.parametrize(("examples", "tolerance"), [(100, 0.05), (228, 0.03), (300, 0.02), (450, 0.01), (719, 0.01)])
def test_a_model_at_the_tolerance_passes_at_most_at_the_stated_rate(examples: int, tolerance: float) -> None:
    rates = [chance_to_pass(examples, tolerance, rate, tolerance) for rate in (0.0, 0.0025, 0.02)]
    assert max(rates) <= ALPHA
    # and it is a test, not a refusal: the rate is used up
    assert max(rates) > 0.6 * ALPHA


def test_beyond_the_counted_tables_the_rate_is_the_stated_one_within_the_normal_approximation() -> None:
    lost, gained = np.meshgrid(np.arange(400), np.arange(400), indexing="ij")
    examples, rate, drop = 3000, 0.04, 0.02
    chances = multinomial_grid(examples, lost, gained, rate + drop, rate)
    passes = stats.norm.cdf(paired_test.score(lost, gained, examples, drop)) <= ALPHA
    assert chances[passes].sum() == pytest.approx(ALPHA, abs=0.003)


def multinomial_grid(
    examples: int, lost: np.ndarray, gained: np.ndarray, lost_rate: float, gained_rate: float
) -> np.ndarray:
    return stats.binom.pmf(lost, examples, lost_rate) * stats.binom.pmf(
        gained, examples - lost, gained_rate / (1 - lost_rate)
    )


@pytest.mark.parametrize(
    ("lost", "gained", "examples", "drop"), [(5, 2, 80, 0.1), (0, 1, 44, 0.05), (9, 14, 300, -0.01)]
)
def test_the_statistic_is_the_score_at_the_most_likely_nuisance(
    lost: int, gained: int, examples: int, drop: float
) -> None:
    def unlikelihood(rate: float) -> float:
        return -stats.multinomial.logpmf(
            [lost, gained, examples - lost - gained], examples, [rate + drop, rate, 1 - 2 * rate - drop]
        )

    low, high = max(0.0, -drop), (1 - drop) / 2
    rate = optimize.minimize_scalar(unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
    expected = ((lost - gained) / examples - drop) / ((2 * rate + drop - drop**2) / examples) ** 0.5
    assert float(paired_test.score(np.array(lost), np.array(gained), examples, drop)) == pytest.approx(
        expected, rel=1e-4
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.data())
def test_bounds_hold_the_estimate_and_mirror_each_other(examples: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, min(examples, 25)))
    gained = data.draw(st.integers(0, min(examples - lost, 25)))
    low, high = paired_test.drop_interval(lost, gained, examples, 0.95)
    assert -1 <= low <= (lost - gained) / examples <= high <= 1
    assert paired_test.drop_interval(gained, lost, examples, 0.95) == pytest.approx((-high, -low), abs=1e-5)


def test_more_examples_of_the_same_kind_narrow_the_bound() -> None:
    bounds = [paired_test.drop_interval(3 * k, 2 * k, 500 * k, 0.95)[1] for k in (1, 2, 4, 8, 16)]
    assert bounds == sorted(bounds, reverse=True)


def test_counted_and_approximate_bounds_meet_where_they_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = paired_test.drop_interval(31, 29, 4000, 0.95)
    monkeypatch.setattr(paired_test, "LARGEST_COUNT", 0)
    assert paired_test.drop_interval(31, 29, 4000, 0.95) == pytest.approx(counted, abs=3e-4)


def test_harm_in_a_small_slice_needs_more_than_two_examples() -> None:
    assert paired_test.p_value(0, 2, 54, -0.01) > 0.1
    assert paired_test.p_value(0, 10, 54, -0.01) < 0.002
