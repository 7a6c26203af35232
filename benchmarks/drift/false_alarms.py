"""Measure how often detectors alarm on windows without drift.

    python -m benchmarks.drift.digits
    python -m benchmarks.drift.false_alarms --stream tabular --windows 1000

Results are appended to a file in ``false_alarms/``, so an interrupted run resumes. With `--detector evidently`, in a
separate environment (`pip install "evidently==0.7.23" "pandas<3"`), Evidently tests the same windows.
"""

import argparse

import numpy as np

from benchmarks.drift import detectors
from benchmarks.drift.streams import HERE, SIZES, Digits, window
from benchmarks.records import Records

STREAMS = ("tabular", "embeddings", "predictions")
RATES = (0.01, 0.05)
STEP = 50
"""Windows in a record."""


def evidently(reference, current, seed):
    """Return the number of columns that Evidently reports as drifted by default."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    categorical = [name for name in current if name in detectors.CATEGORICAL]
    definition = DataDefinition(
        numerical_columns=[name for name in current if name not in categorical], categorical_columns=categorical
    )
    before, now = (Dataset.from_pandas(pd.DataFrame(rows), definition) for rows in (reference, current))
    found = Report([DataDriftPreset()]).run(now, before).dict()["metrics"]
    return next(metric["value"]["count"] for metric in found if "DriftedColumns" in metric["metric_name"])


def main():
    """Test the windows that the file lacks, and print the alarm rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--detector", default="reprune")
    parser.add_argument("--stream", choices=STREAMS, required=True)
    arguments = parser.parse_args()
    detector = evidently if arguments.detector == "evidently" else getattr(detectors, arguments.detector)
    score = "drifted_columns" if arguments.detector == "evidently" else "p_values"
    path = HERE / "false_alarms" / f"{arguments.detector}-{arguments.stream}.jsonl"
    path.parent.mkdir(exist_ok=True)
    found = Records(path, ("rows", "first_seed"))
    digits = Digits()
    for first in range(0, arguments.windows - STEP + 1, STEP):
        for size in SIZES:
            if not found.has(size, first):
                pairs = ((seed, window(arguments.stream, seed, size, digits)) for seed in range(first, first + STEP))
                scores = [round(float(detector(*pair, seed)), 5) for seed, pair in pairs]
                found.add(rows=size, first_seed=first, **{score: scores})
    for size in SIZES:
        values = np.array([value for record in found.select(rows=size) for value in record[score]])
        if arguments.detector == "evidently":
            print(size, len(values), f"any column: {np.mean(values > 0):.1%}")
        else:
            print(size, len(values), *(f"{rate:.0%}: {np.mean(values <= rate):.1%}" for rate in RATES))


if __name__ == "__main__":
    main()
