"""Savings rest on what was measured, and claim nothing that the measurement does not hold."""

import pytest

from reprune.config.serving import Serving, estimate
from reprune.config.target import Target

DENSE = {"p50_seconds": 0.032}


def saved(speed_up, low, target):
    pruned = {"p50_seconds": 0.032 / speed_up, "speed_up": speed_up, "speed_up_interval": [low, 2 * speed_up]}
    return estimate([DENSE, pruned], target, Serving(requests_per_second=1000, price_per_hour=0.05))


def test_cores_are_time_per_example_times_rate_times_threads():
    found = saved(4.0, 2.0, Target(batch_size=32, threads=2))
    assert found.cores == pytest.approx(1000 * 0.032 * 2 / 32 * 0.75)
    assert found.cores_lower == pytest.approx(1000 * 0.032 * 2 / 32 * 0.5)
    assert found.per_hour == pytest.approx(found.cores * 0.05)


def test_a_speed_up_that_may_be_none_saves_nothing_for_sure_and_a_slower_model_costs():
    assert saved(1.05, 0.98, Target()).cores_lower == 0
    assert saved(0.8, 0.7, Target()).cores < 0
