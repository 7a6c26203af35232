import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprune.inference.latency.bootstrap import Estimate, noise, quantiles, ratio
from reprune.inference.latency.timing import Samples

SESSIONS = np.repeat(np.arange(5), 20)


def record(latency: float, seed: int, spread: float = 0.05, session_offsets=(0, 0, 0, 0, 0)) -> Samples:
    rng = np.random.default_rng(seed)
    offsets = np.repeat(np.asarray(session_offsets, float), 20 * 4)
    seconds = latency * (1 + offsets) * rng.lognormal(0, spread, size=len(SESSIONS) * 4)
    return Samples(seconds.tolist(), np.repeat(np.arange(len(SESSIONS)), 4).tolist())


def test_a_planted_ratio_is_found_and_bracketed():
    found = ratio(record(0.5, 1), record(1.0, 2), SESSIONS, np.random.default_rng(0))
    assert found.value == pytest.approx(0.5, rel=0.03)
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 0.05


def test_interval_of_the_ratio_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(60):
        found = ratio(record(0.5, seed), record(1.0, 1000 + seed), SESSIONS, np.random.default_rng(seed))
        covered += found.low <= 0.5 <= found.high
    assert covered >= 51  # 95 % nominal; fewer than 85 % would be a broken interval


def test_differences_between_sessions_widen_the_interval():
    steady = ratio(record(0.5, 1), record(1.0, 2), SESSIONS, np.random.default_rng(0))
    moody = ratio(
        record(0.5, 1, session_offsets=(-0.2, -0.1, 0, 0.1, 0.2)), record(1.0, 2), SESSIONS, np.random.default_rng(0)
    )
    assert moody.high - moody.low > 3 * (steady.high - steady.low)


def test_noise_surrounds_one_symmetrically_and_holds_every_session():
    spread = noise(
        record(1.0, 1, session_offsets=(0, 0, 0, 0, 0.2)), record(1.0, 2), SESSIONS, np.random.default_rng(0)
    )
    assert spread.low < 1 < spread.high
    assert spread.low == pytest.approx(1 / spread.high)
    assert spread.high > 1.15


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e3), st.integers(0, 1000))
def test_quantiles_are_ordered_bracketed_and_scale_with_the_clock(scale, seed):
    samples = record(1.0, seed)
    found = quantiles(samples, (0.5, 0.95, 0.99), np.random.default_rng(seed))
    scaled_samples = Samples([s * scale for s in samples.seconds], samples.rounds)
    scaled = quantiles(scaled_samples, (0.5, 0.95, 0.99), np.random.default_rng(seed))
    assert found[0].value < found[1].value < found[2].value
    assert all(it.low <= it.value <= it.high for it in found)
    for one, other in zip(found, scaled, strict=True):
        assert (other.value, other.low, other.high) == pytest.approx(
            (one.value * scale, one.low * scale, one.high * scale)
        )


def test_a_round_of_slow_calls_widens_the_tail_and_not_the_median():
    samples = record(1.0, 3)
    samples.seconds[:4] = [9.0] * 4
    p50, _, p99 = quantiles(samples, (0.5, 0.95, 0.99), np.random.default_rng(0))
    assert p50.high < 1.1
    assert p99.high > 5


def test_the_inverse_of_a_ratio_is_a_speed_up_with_its_ends_swapped():
    assert Estimate(value=0.5, low=0.4, high=0.8).inverse() == Estimate(value=2.0, low=1.25, high=2.5)
