"""Measure how many windows pass until drift is confirmed.

    python -m benchmarks.drift.delay --trials 30 --no-drift-trials 200

Two rules are compared on the same windows: two alarms in a row, the monitor's default at 1 % false alarms a window; and
`monitor.online`, which also tests several windows together and confirms by one such alarm. Each trial has its own
reference and a series of windows of 300 rows, all shifted or all without drift. Windows without drift are tested at
5 %, since 1 % would give too few alarms to count. Results are appended to ``delay.jsonl`` and ``no_drift.jsonl``, so an
interrupted run resumes.
"""

import argparse
from itertools import product

import numpy as np

from benchmarks.drift import detectors
from benchmarks.drift.power import SIZE, TABULAR
from benchmarks.drift.streams import HERE, REFERENCE, tabular
from benchmarks.records import Records
from reprune.config.drift import DriftPolicy
from reprune.config.monitor import WatchPolicy, windows_between_false_confirmations
from reprune.drift.sequential import Recent

SHIFTS = ("mean", "spread", "correlation", "balance")
SERIES = 2026
RATE, NO_DRIFT_RATE, CONFIRM, MAX_WINDOWS, NO_DRIFT_WINDOWS = 0.01, 0.05, 2, 20, 8
STEP = 10
"""Trials in a record."""

WAYS = {"in a row": False, "together": True}
"""How drift is confirmed, and whether ``monitor.online`` is set."""


def tests(rng, shift, seed, rate, online):
    """Yield the alarms of each window's tests, that of the window alone first."""
    reference, recent = tabular(rng, REFERENCE), Recent()
    frame = detectors.binning(reference)
    before, policy = detectors.summary(reference, frame, "reference"), DriftPolicy(false_alarm_rate=rate)
    for count in range(MAX_WINDOWS):
        window = detectors.summary(tabular(rng, SIZE, **shift), frame, f"window {count}")
        if online:
            recent, found = recent.add(before, window, policy, seed=seed * MAX_WINDOWS + count)
            yield [look.report.drifted for look in found]
        else:
            yield [detectors.judge(before, window, policy, seed=seed * MAX_WINDOWS + count).drifted]


def windows_until_confirmed(kind, amount, seed, online):
    """Return the number of windows until drift is confirmed.

    It is ``MAX_WINDOWS + 1`` if drift is never confirmed.
    """
    rng, in_a_row = np.random.default_rng([SERIES, seed, *f"delay {kind} {amount}".encode()]), 0
    for count, found in enumerate(tests(rng, {kind: amount}, seed, RATE, online), 1):
        in_a_row = in_a_row + 1 if found[0] else 0
        if in_a_row == CONFIRM or any(found[1:]):
            return count
    return MAX_WINDOWS + 1


def without_drift(seed, online):
    """Return the windows of a series without drift that alarm or confirm drift."""
    rng, in_a_row, alarms, confirmed = np.random.default_rng([SERIES, seed, *b"still"]), 0, [], []
    for count, found in zip(range(NO_DRIFT_WINDOWS), tests(rng, {}, seed, NO_DRIFT_RATE, online), strict=False):
        in_a_row = in_a_row + 1 if found[0] else 0
        if any(found):
            alarms.append(count)
        if in_a_row == CONFIRM or any(found[1:]):
            confirmed.append(count)
            in_a_row = 0
    return {"alarms": alarms, "confirmed": confirmed}


def main():
    """Run the trials that the files lack, and print all results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--no-drift-trials", type=int, default=200)
    arguments = parser.parse_args()
    no_drift = Records(HERE / "no_drift.jsonl", ("confirmed_by", "trial"))
    delays = Records(HERE / "delay.jsonl", ("shift", "amount", "confirmed_by", "first_trial"))
    for way, online in WAYS.items():
        for trial in range(arguments.no_drift_trials):
            if not no_drift.has(way, trial):
                no_drift.add(confirmed_by=way, trial=trial, **without_drift(trial, online))
        report_no_drift(no_drift.select(confirmed_by=way), online)
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
        shown = [f"more than {MAX_WINDOWS}" if value > MAX_WINDOWS else f"{value:.0f}" for value in (median, ninth)]
        print(f"{kind} {amount:g}, {way}: median {shown[0]}, nine in ten within {shown[1]} ({len(known)} trials)")


def report_no_drift(known, online):
    """Print the measured and stated numbers of false alarms and confirmations."""
    windows = len(known) * NO_DRIFT_WINDOWS
    alarms, confirmed = (sum(len(trial[key]) for trial in known) for key in ("alarms", "confirmed"))
    stated = windows_between_false_confirmations(NO_DRIFT_RATE, WatchPolicy(online=online, confirm=CONFIRM))
    errors = [np.std([len(trial[key]) for trial in known]) * len(known) ** 0.5 for key in ("alarms", "confirmed")]
    print(f"{'together' if online else 'in a row'}: {windows} windows, {len(known)} references;")
    print(f"  {alarms} ± {errors[0]:.0f} with an alarm, {confirmed} ± {errors[1]:.0f} confirmed;")
    print(f"  stated: at most {windows * NO_DRIFT_RATE:.0f} with one, at most {windows / stated:.1f} confirmed")


if __name__ == "__main__":
    main()
