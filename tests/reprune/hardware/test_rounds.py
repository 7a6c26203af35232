import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprune.inference.latency.timing import Samples, interleave, warm_up


class FakeTime:
    """A clock that only moves when something is called."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def call(self, durations):
        durations = iter(durations)

        def run():
            self.now += next(durations)

        return run


def test_warm_up_ends_where_durations_have_settled():
    time = FakeTime()
    falling = [0.010 - 0.0005 * i for i in range(10)]
    calls, duration = warm_up(time.call(itertools.chain(falling, itertools.repeat(0.005))), limit_seconds=9, clock=time)
    assert calls >= len(falling)
    assert duration == pytest.approx(0.005)


def test_steady_durations_need_only_three_windows():
    time = FakeTime()
    calls, _ = warm_up(time.call(itertools.repeat(0.010)), limit_seconds=9, clock=time)
    assert calls == 3


def test_warm_up_that_never_settles_ends_at_its_limit():
    time = FakeTime()
    warm_up(time.call(1 / (1 + i) for i in itertools.count()), limit_seconds=2.5, clock=time)
    assert time.now < 4


def test_every_round_times_every_call_and_keeps_its_own_durations():
    time = FakeTime()
    slow, quick = time.call(itertools.repeat(0.010)), time.call(itertools.repeat(0.001))
    samples = {"slow": Samples(), "quick": Samples()}
    rounds = interleave({"slow": slow, "quick": quick}, samples, seconds=1.0, rng=random.Random(0), clock=time)
    assert set(samples["slow"].rounds) == set(samples["quick"].rounds) == set(range(rounds))
    assert samples["slow"].seconds == pytest.approx([0.010] * len(samples["slow"].seconds))
    assert samples["quick"].seconds == pytest.approx([0.001] * len(samples["quick"].seconds))
    assert time.now < 1.1


def test_a_drift_of_the_machine_cancels_in_the_ratio_of_rounds():
    time = FakeTime()
    samples = {"a": Samples(), "b": Samples()}
    calls = {
        "a": lambda: setattr(time, "now", time.now + 0.004 * (1 + time.now)),
        "b": lambda: setattr(time, "now", time.now + 0.002 * (1 + time.now)),
    }
    interleave(calls, samples, seconds=2.0, rng=random.Random(1), clock=time)
    a, b = samples["a"].round_medians(), samples["b"].round_medians()
    assert a[-1] > 2 * a[0]
    assert np.median(a / b) == pytest.approx(2, rel=0.02)


def test_durations_are_read_from_the_timer_and_limits_from_the_clock():
    wall, own = FakeTime(), FakeTime()

    def call():  # interrupted every other turn
        wall.now += 0.001 if next(turns) % 2 else 0.009
        own.now += 0.001

    turns, samples = itertools.count(), {"busy": Samples()}
    interleave({"busy": call}, samples, seconds=1.0, rng=random.Random(0), clock=wall, timer=own)
    assert samples["busy"].seconds == pytest.approx([0.001] * len(samples["busy"].seconds))
    assert 1.0 <= wall.now < 1.1


def test_slow_calls_get_their_least_rounds_even_past_the_limit():
    time = FakeTime()
    samples = {"slow": Samples()}
    assert (
        interleave({"slow": time.call(itertools.repeat(60))}, samples, seconds=1, rng=random.Random(0), clock=time) == 5
    )


def test_rounds_are_numbered_on_over_sessions():
    time = FakeTime()
    samples = {"a": Samples()}
    for _ in range(2):
        interleave({"a": time.call(itertools.repeat(0.3))}, samples, seconds=1, rng=random.Random(0), clock=time)
    assert sorted(set(samples["a"].rounds)) == list(range(10))


@given(st.lists(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=5), min_size=1, max_size=8))
def test_round_medians_are_the_median_of_each_round(rounds):
    samples = Samples([s for part in rounds for s in part], [i for i, part in enumerate(rounds) for _ in part])
    assert samples.round_medians().tolist() == [np.median(part) for part in rounds]
