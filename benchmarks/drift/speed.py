"""Measure the time and memory of testing a window of a million rows.

    python -m benchmarks.drift.speed

Windows have fifty columns. Each tool runs in its own process, in turns, from the Parquet file to the verdict. Processor
time is compared, since other programs disturb it less than wall time, and the process's peak of resident memory. Tools:
`reprune` (the window against a saved reference); `scipy` (Kolmogorov-Smirnov test of each column); `evidently` (its
default preset, in a separate environment; `--peers` is its Python, see ``false_alarms.py``). `--tools reprune` with
other `--rows` shows how memory depends on the number of rows.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import ROOT

HERE = Path(__file__).parent
COLUMNS = 50
TOOLS = ("reprune", "scipy", "evidently")


def write(path, rows, seed):
    """Write a Parquet file of normal and skewed columns, one row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, writer = np.random.default_rng(seed), None
    for start in range(0, rows, 100_000):
        size = min(100_000, rows - start)
        columns = {f"x{i}": rng.lognormal(size=size) if i % 2 else rng.normal(size=size) for i in range(COLUMNS)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def run_tool(name, reference, window, summary):
    """Run one tool here, and print its processor seconds and peak memory."""
    start = time.process_time()
    if name == "reprune":
        from reprune.drift import summary_file, window_reader
        from reprune.drift.two_sample import judge

        known = summary_file.load(summary)
        judge(
            known,
            window_reader.summarize_window(
                window_reader.Window("window", window.parent, (window,)), known.frame
            ).summary,
        )
    else:
        import pandas as pd

        before, now = pd.read_parquet(reference), pd.read_parquet(window)
        if name == "scipy":
            from scipy import stats

            for column in now:
                stats.ks_2samp(before[column].to_numpy(), now[column].to_numpy())
        else:
            from evidently import DataDefinition, Dataset, Report
            from evidently.presets import DataDriftPreset

            definition = DataDefinition(numerical_columns=list(now))
            Report([DataDriftPreset()]).run(*(Dataset.from_pandas(rows, definition) for rows in (now, before))).dict()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": time.process_time() - start, "peak_bytes": peak}))


def main():
    """Run the tools in turns, write the results, and print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=["reprune", "scipy"])
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--tool", nargs=4)
    arguments = parser.parse_args()
    if arguments.tool:
        run_tool(arguments.tool[0], *map(Path, arguments.tool[1:]))
        return
    kept = HERE / "speed.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for rows in arguments.rows:
            paths = [Path(scratch) / f"{name}-{rows}.parquet" for name in ("reference", "window")]
            for seed, path in enumerate(paths):
                write(path, rows, seed)
            summary = Path(scratch) / "summary.safetensors"
            command = [str(Path(sys.executable).parent / "reprune"), "reference", str(paths[0]), "--out", str(summary)]
            subprocess.run(command, check=True)
            for _ in range(arguments.rounds):
                for name in arguments.tools:
                    python = arguments.peers if name == "evidently" else sys.executable
                    command = [python, "-m", "benchmarks.drift.speed", "--tool", name, *map(str, paths)]
                    environment = os.environ | {"OMP_NUM_THREADS": "1"}
                    ran = subprocess.run(
                        [*command, str(summary)], check=True, capture_output=True, text=True, env=environment, cwd=ROOT
                    )
                    found.setdefault(f"{name} {rows}", []).append(json.loads(ran.stdout.splitlines()[-1]))
                    kept.write_text(json.dumps(found, indent=1))
            print(rows)
            for name in arguments.tools:
                runs = found[f"{name} {rows}"]
                seconds, peak = (np.median([run[key] for run in runs]) for key in ("seconds", "peak_bytes"))
                print(f"  {name:16} {seconds:7.2f} s {peak / 2**20:7.0f} MiB")


if __name__ == "__main__":
    main()
