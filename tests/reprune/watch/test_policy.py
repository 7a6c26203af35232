"""How rarely drift is confirmed while there is none."""

import numpy as np
import pytest

from reprune.config.monitor import WatchPolicy, windows_between_false_confirmations
from reprune.drift.sequential import LONGEST, LOOKS

RATE, REFERENCES, WINDOWS = 0.05, 20_000, 40


def simulated(policy, unlike):
    """Windows for each confirmation; of the references a share of 1/unlike alarms that many times as often."""
    rng = np.random.default_rng(0)
    each = RATE * (LONGEST / LOOKS if policy.online else 1)
    rates = np.where(rng.random((REFERENCES, 1)) < 1 / unlike, each * unlike, 0)
    confirmed, row = 0, np.zeros(REFERENCES, dtype=int)
    for alarms in (rng.random((REFERENCES, WINDOWS)) < rates).T:
        row = np.where(alarms, row + 1, 0)
        confirmed += (row == policy.confirm).sum()
        row[row == policy.confirm] = 0
    if policy.online:
        confirmed += rng.binomial(WINDOWS * (LOOKS - LONGEST) // LONGEST, rates).sum()
    return REFERENCES * WINDOWS / confirmed


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("confirm", [1, 2])
def test_confirmations_are_no_more_than_stated_however_alarms_cluster(online, confirm):
    policy = WatchPolicy(online=online, confirm=confirm)
    stated = windows_between_false_confirmations(RATE, policy)
    always = LOOKS / LONGEST / RATE if online else 1 / RATE
    assert simulated(policy, always) == pytest.approx(stated, rel=0.1)
    assert simulated(policy, 3) > 0.95 * stated
    assert simulated(policy, 1) > 0.95 * stated


def test_by_default_it_is_at_most_once_in_two_hundred_windows():
    assert windows_between_false_confirmations(0.01, WatchPolicy()) == pytest.approx(200)
