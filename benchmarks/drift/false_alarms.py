"""How often detectors alarm on windows without drift.

    python -m benchmarks.drift.digits
    python -m benchmarks.drift.false_alarms --stream tabular --windows 1000

What is done is kept in false_alarms/, so the script can be stopped and run again. With `--detector evidently`, in
an environment of its own (`pip install "evidently==0.7.23" "pandas<3"`), Evidently judges the same windows.
"""

import argparse
import json

import numpy as np

from benchmarks.drift import detectors
from benchmarks.drift.streams import HERE, SIZES, Digits, window

STREAMS = ("tabular", "embeddings", "predictions")
RATES = (0.01, 0.05)


def evidently(reference, current, seed):
    """Return how many columns Evidently's default preset calls drifted."""
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
    """Judge the windows that are not in the file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--detector", default="reprune")
    parser.add_argument("--stream", choices=STREAMS, required=True)
    arguments = parser.parse_args()
    judge = evidently if arguments.detector == "evidently" else getattr(detectors, arguments.detector)
    path = HERE / "false_alarms" / f"{arguments.detector}-{arguments.stream}.json"
    path.parent.mkdir(exist_ok=True)
    found = json.loads(path.read_text()) if path.exists() else {}
    digits = Digits()
    for done in range(50, arguments.windows + 1, 50):
        for size in SIZES:
            known = found.setdefault(str(size), [])
            if len(known) < done:
                pairs = ((seed, window(arguments.stream, seed, size, digits)) for seed in range(len(known), done))
                known += [round(float(judge(*pair, seed)), 5) for seed, pair in pairs]
                path.write_text(json.dumps(found))
    for key, values in found.items():
        if arguments.detector == "evidently":
            print(key, len(values), f"any column: {np.mean(np.array(values) > 0):.1%}")
        else:
            print(key, len(values), *(f"{rate:.0%}: {np.mean(np.array(values) <= rate):.1%}" for rate in RATES))


if __name__ == "__main__":
    main()
