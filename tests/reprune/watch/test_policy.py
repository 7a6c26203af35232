"""How rarely drift is confirmed while there is none."""

import numpy as np
import pytest

from reprune.drift.online import LONGEST, LOOKS
from reprune.watch.policy import WatchPolicy, windows_between_false_confirmations


def simulated(rate, policy, windows=1_000_000):
    """Alarms of independent looks, dealt at random; a run of alarms begins anew once it is confirmed."""
    rng = np.random.default_rng(0)
    alarms = np.flatnonzero(rng.random(windows) < rate * (LONGEST / LOOKS if policy.online else 1))
    confirmed, row, last = 0, 0, -2
    for place in alarms:
        row, last = (row + 1 if place == last + 1 else 1), place
        if row == policy.confirm:
            confirmed, row = confirmed + 1, 0
    if policy.online:
        confirmed += rng.binomial(windows * (LOOKS - LONGEST) // LONGEST, rate * LONGEST / LOOKS)
    return windows / confirmed


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("confirm", [1, 2])
def test_the_stated_number_of_windows_is_the_mean(online, confirm):
    policy = WatchPolicy(online=online, confirm=confirm)
    assert windows_between_false_confirmations(0.1, policy) == pytest.approx(simulated(0.1, policy), rel=0.03)


def test_by_default_it_is_once_in_ten_thousand_windows():
    assert windows_between_false_confirmations(0.01, WatchPolicy()) == pytest.approx(10_100)
