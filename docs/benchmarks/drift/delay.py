"""How many windows pass until a shift is confirmed, with the defaults of the monitor: 1 % false alarms, two in a row.

    python docs/benchmarks/drift/delay.py --trials 25

Each trial has a reference of its own, and windows of 300 rows one after another, all shifted. What is done is kept in
delay.json, so the script can be stopped and run again.
"""

import argparse
import json

import detectors
import numpy as np
from power import SIZE, TABULAR
from streams import HERE, REFERENCE, tabular

RATE, CONFIRM, LONGEST = 0.01, 2, 20


def windows_until_confirmed(kind, amount, seed):
    """Return how many windows it took; one more than the longest that was waited for where they were not enough."""
    rng = np.random.default_rng([seed, *f"delay {kind} {amount}".encode()])
    reference, row = tabular(rng, REFERENCE), 0
    for count in range(1, LONGEST + 1):
        window = tabular(rng, SIZE, **{kind: amount})
        row = row + 1 if detectors.reprune(reference, window, seed * LONGEST + count) <= RATE else 0
        if row == CONFIRM:
            return count
    return LONGEST + 1


def main():
    """Run the trials that are not in the file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=25)
    arguments = parser.parse_args()
    path = HERE / "delay.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for title, (kind, amounts) in TABULAR.items():
        for amount in amounts:
            known = found.setdefault(f"{title} {amount:g}", [])
            known += [windows_until_confirmed(kind, amount, seed) for seed in range(len(known), arguments.trials)]
            path.write_text(json.dumps(found))
            median, ninth = (np.quantile(known, share, method="inverted_cdf") for share in (0.5, 0.9))
            shown = [f"more than {LONGEST}" if value > LONGEST else f"{value:.0f}" for value in (median, ninth)]
            print(f"{title} {amount:g}: median {shown[0]}, nine in ten within {shown[1]} ({len(known)} trials)")


if __name__ == "__main__":
    main()
