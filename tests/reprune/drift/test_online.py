"""Windows judged one after another, alone and together."""

import numpy as np
import pytest

from reprune.config.drift import DriftPolicy
from reprune.drift.binning import Frame
from reprune.drift.columns import Chunk
from reprune.drift.sequential import LONGEST, LOOKS, Recent
from reprune.drift.window_summary import summarize

RATE = DriftPolicy(false_alarm_rate=0.05)


def chunk(rng, rows, source, shift=0.0):
    return Chunk({"a": rng.normal(shift, 1, rows), "b": rng.normal(0, 1, rows)}, source)


def run(seed, windows, shift=0.0, rows=30):
    """Judge windows in turn; returns the looks of each."""
    rng = np.random.default_rng(seed)
    before = chunk(rng, 300, "reference")
    frame = Frame.of(before.columns)
    reference, recent, found = summarize([before], frame), Recent(), []
    for i in range(windows):
        recent, looks = recent.add(reference, summarize([chunk(rng, rows, f"window {i}", shift)], frame), RATE)
        found.append(looks)
    return found


def test_windows_are_judged_alone_and_by_twos_fours_and_eights():
    looks = run(0, LONGEST)
    assert [[look.windows for look in window] for window in looks] == [
        [1], [1, 2], [1], [1, 2, 4], [1], [1, 2], [1], [1, 2, 4, 8]
    ]  # fmt: skip
    assert sum(map(len, looks)) == LOOKS
    assert looks[7][3].report.window_examples == 8 * 30
    assert looks[0][0].report.false_alarm_rate * LOOKS / LONGEST == pytest.approx(0.05)


def test_drift_too_small_for_one_window_is_found_by_several():
    looks = [look for seed in range(3) for window in run(seed, 8, 0.4) for look in window]
    alarms = [look.windows for look in looks if look.report.drifted]
    assert alarms.count(8) == 3 and alarms.count(1) <= 15


@pytest.mark.slow
def test_false_alarms_come_no_more_often_than_stated():
    windows = [window for seed in range(60) for window in run(seed, 16)]
    alarms = sum(look.report.drifted for window in windows for look in window)
    assert alarms <= 0.05 * len(windows) + 3 * (0.05 * len(windows) * 2) ** 0.5
