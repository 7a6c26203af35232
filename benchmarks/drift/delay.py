"""How many windows pass until drift is confirmed, by windows in a row and by windows together; and how often without.

    python -m benchmarks.drift.delay --trials 30 --still 200

Each trial has a reference of its own, and windows of 300 rows one after another, all shifted, or all still. Both ways
see the same windows, with the defaults of the monitor: 1 % false alarms a window, confirmed by two in a row; and with
`monitor.online`, where a look at several windows together confirms by itself. Still windows are judged at 5 %, since at
1 % too little would happen to be counted. What is done is kept in delay.jsonl and no_drift.jsonl, so the script can
be stopped and run again.
"""

import argparse
from itertools import product

import numpy as np

from benchmarks.drift import detectors
from benchmarks.drift.power import SIZE, TABULAR
from benchmarks.drift.streams import HERE, REFERENCE, tabular
from benchmarks.records import Records
from reprune.drift.online import Recent
from reprune.drift.policy import DriftPolicy
from reprune.watch.policy import WatchPolicy, windows_between_false_confirmations

SHIFTS = ("mean", "spread", "correlation", "balance")
SERIES = 2026
RATE, STILL_RATE, CONFIRM, LONGEST, STILL = 0.01, 0.05, 2, 20, 8
STEP = 10
"""Trials in a record."""

WAYS = {"in a row": False, "together": True}
"""How drift is confirmed, and whether ``monitor.online`` is set."""


def looks(rng, shift, seed, rate, online):
    """Yield, window after window, whether each of the looks at it alarms, that at the window alone first."""
    reference, recent = tabular(rng, REFERENCE), Recent()
    frame = detectors.framed(reference)
    before, policy = detectors.summary(reference, frame, "reference"), DriftPolicy(false_alarm_rate=rate)
    for count in range(LONGEST):
        window = detectors.summary(tabular(rng, SIZE, **shift), frame, f"window {count}")
        if online:
            recent, found = recent.add(before, window, policy, seed=seed * LONGEST + count)
            yield [look.report.drifted for look in found]
        else:
            yield [detectors.judge(before, window, policy, seed=seed * LONGEST + count).drifted]


def windows_until_confirmed(kind, amount, seed, online):
    """Return how many windows it took; one more than the longest that was waited for where they were not enough."""
    rng, row = np.random.default_rng([SERIES, seed, *f"delay {kind} {amount}".encode()]), 0
    for count, found in enumerate(looks(rng, {kind: amount}, seed, RATE, online), 1):
        row = row + 1 if found[0] else 0
        if row == CONFIRM or any(found[1:]):
            return count
    return LONGEST + 1


def still(seed, online):
    """Return, of some windows without drift, in which there was an alarm, and in which drift was newly confirmed."""
    rng, row, alarms, confirmed = np.random.default_rng([SERIES, seed, *b"still"]), 0, [], []
    for count, found in zip(range(STILL), looks(rng, {}, seed, STILL_RATE, online), strict=False):
        row = row + 1 if found[0] else 0
        if any(found):
            alarms.append(count)
        if row == CONFIRM or any(found[1:]):
            confirmed.append(count)
            row = 0
    return {"alarms": alarms, "confirmed": confirmed}


def main():
    """Run the trials that are not in the file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--still", type=int, default=200)
    arguments = parser.parse_args()
    without_drift = Records(HERE / "no_drift.jsonl", ("confirmed_by", "trial"))
    delays = Records(HERE / "delay.jsonl", ("shift", "amount", "confirmed_by", "first_trial"))
    for way, online in WAYS.items():
        for trial in range(arguments.still):
            if not without_drift.has(way, trial):
                without_drift.add(confirmed_by=way, trial=trial, **still(trial, online))
        report_still(without_drift.select(confirmed_by=way), online)
    cells = [(kind, amount) for kind, amounts in TABULAR.values() for amount in amounts if kind in SHIFTS]
    for first in range(0, arguments.trials - STEP + 1, STEP):
        for (kind, amount), way in product(cells, WAYS):
            if not delays.has(kind, amount, way, first):
                windows = [windows_until_confirmed(kind, amount, first + it, WAYS[way]) for it in range(STEP)]
                delays.add(shift=kind, amount=amount, confirmed_by=way, first_trial=first, windows=windows)
    for (kind, amount), way in product(cells, WAYS):
        records = delays.select(shift=kind, amount=amount, confirmed_by=way)
        known = [windows for record in records for windows in record["windows"]]
        if not known:
            continue
        median, ninth = (np.quantile(known, share, method="inverted_cdf") for share in (0.5, 0.9))
        shown = [f"more than {LONGEST}" if value > LONGEST else f"{value:.0f}" for value in (median, ninth)]
        print(f"{kind} {amount:g}, {way}: median {shown[0]}, nine in ten within {shown[1]} ({len(known)} trials)")


def report_still(known, online):
    """Print how many windows without drift went by between false alarms, measured and stated."""
    windows = len(known) * STILL
    alarms, confirmed = (sum(len(trial[key]) for trial in known) for key in ("alarms", "confirmed"))
    stated = windows_between_false_confirmations(STILL_RATE, WatchPolicy(online=online, confirm=CONFIRM))
    errors = [np.std([len(trial[key]) for trial in known]) * len(known) ** 0.5 for key in ("alarms", "confirmed")]
    print(f"{'together' if online else 'in a row'}: {windows} windows, {len(known)} references;")
    print(f"  {alarms} ± {errors[0]:.0f} with an alarm, {confirmed} ± {errors[1]:.0f} confirmed;")
    print(f"  stated: at most {windows * STILL_RATE:.0f} with one, at most {windows / stated:.1f} confirmed")


if __name__ == "__main__":
    main()
