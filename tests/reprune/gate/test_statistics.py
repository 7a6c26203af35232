"""Comparisons of scores: error rates by simulation, intervals by known values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reprune.gate import confidence_intervals


def pairs(rng: np.random.Generator, examples: int, lost: float, gained: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw 0/1 scores of two models, of which a share ``lost`` and ``gained`` differ."""
    kind = rng.choice(4, size=examples, p=[lost, gained, 0.9 * (1 - lost - gained), 0.1 * (1 - lost - gained)])
    return np.isin(kind, (0, 2)).astype(float), np.isin(kind, (1, 2)).astype(float)


def test_an_equal_model_passes_at_the_sample_size_that_the_comparison_recommends() -> None:
    rng, passed = np.random.default_rng(0), 0
    cases = 80
    for _ in range(cases):
        pilot = confidence_intervals.compare(*pairs(rng, 400, 0.02, 0.02))
        if pilot.drop >= 0.03:  # nothing to recommend: it was refused
            pilot = pilot.model_copy(update={"drop": 0.0})
        examples = pilot.examples_needed(0.03)
        passed += confidence_intervals.compare(*pairs(rng, examples, 0.02, 0.02)).high <= 0.03
    assert passed / cases >= 0.8


def test_an_inferior_model_on_continuous_scores_passes_at_most_at_the_stated_rate() -> None:
    rng, passed, cases = np.random.default_rng(1), 0, 600
    for _ in range(cases):
        reference = rng.random(120)
        # skewed differences with a mean of exactly the tolerance
        candidate = reference - 0.02 - 0.05 * (rng.exponential(size=120) - 1)
        passed += confidence_intervals.compare(reference, candidate).high <= 0.02
    # 5 % and the noise of the simulation, two standard errors
    assert passed / cases <= 0.05 + 2 * (0.05 * 0.95 / cases) ** 0.5


def test_equal_scores_of_a_continuous_metric_lose_nothing() -> None:
    scores = np.random.default_rng(0).random(50)
    seen = confidence_intervals.compare(scores, scores)
    assert (seen.drop, seen.low, seen.high) == (0, 0, 0)


def test_one_continuous_example_says_nothing() -> None:
    seen = confidence_intervals.compare(np.array([0.5]), np.array([0.4]))
    assert (seen.low, seen.high) == (-np.inf, np.inf)


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263 gives 0.2553 to 0.3662
    found = confidence_intervals.mean_interval(np.r_[np.ones(81), np.zeros(182)])
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_the_bootstrap_bound_is_scipys() -> None:
    values = np.random.default_rng(3).exponential(size=80)
    ours = confidence_intervals._bca(values, 0.95, seed=0)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=20_000, rng=np.random.default_rng(0)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_holm_on_a_worked_example() -> None:
    # Holm 1979 by hand: 0.01·4, 0.02·3, 0.03·2, 0.04·1, each at least the one before
    assert confidence_intervals.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert confidence_intervals.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_value_and_keeps_the_order(values: list[float]) -> None:
    adjusted = confidence_intervals.holm(values)
    assert all(after >= before for before, after in zip(values, adjusted, strict=True))
    ranks = sorted(range(len(values)), key=lambda i: values[i])
    assert [adjusted[i] for i in ranks] == sorted(adjusted)


def test_harm_on_continuous_scores_is_found_and_its_absence_is_not() -> None:
    rng = np.random.default_rng(5)
    reference = rng.random(200)
    noise = 0.05 * rng.standard_normal(200)
    assert confidence_intervals.p_value_of_harm(reference, reference - 0.05 + noise, 0.01) < 1e-6
    assert confidence_intervals.p_value_of_harm(reference, reference + noise, 0.01) > 0.5
