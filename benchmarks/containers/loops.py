"""Measure what Docker adds to `reprune run` of a tiny workload.

    DOCKER_HOST=... python -m benchmarks.containers.loops --rounds 2

It runs as processes and in containers, in random order. Each run starts with an empty store and goes through every step
up to the verdict. Writes ``loops.json`` and prints the table of the page.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks import ROOT

HERE = Path(__file__).parent
PROJECT = ROOT / "tests" / "end_to_end" / "project"
RUNNERS = ("local", "docker")
TINY = {"train": {"epochs": 1}, "prune": {"rounds": 1, "epochs": 1}, "finetune": {"epochs": 1}}


def run(runner: str) -> dict[str, float]:
    """Return the seconds of one run, and the seconds inside its steps."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
        file = Path(folder) / "workload.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | TINY))
        command = [sys.executable, "-m", "reprune", "run", "workload.yaml", "--runner", runner, "--json"]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - started
        assert json.loads(done.stdout)["outcome"] in ("promoted", "rejected"), done.stdout
        events = next(Path(folder).glob(".reprune/*/*/events.jsonl")).read_text().splitlines()
        finished = [it for it in map(json.loads, events) if it["event"] == "finished"]
        return {"seconds": seconds, "work_seconds": sum(it["seconds"] for it in finished), "steps": len(finished)}


def main() -> None:
    """Time the runs, write the results, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    found: dict[str, list[dict[str, float]]] = {runner: [] for runner in RUNNERS}
    for number in range(rounds):
        for runner in random.Random(number).sample(RUNNERS, 2):
            found[runner].append(run(runner))
            print(runner, found[runner][-1], file=sys.stderr)
        result = {"cores": os.cpu_count(), "load_average": os.getloadavg(), "runs": found}
        (HERE / "loops.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def show(result: dict) -> None:
    """Print the table."""
    print("| runner | whole run | inside the steps | the rest, per step |\n|---|---|---|---|")
    for runner in RUNNERS:
        runs = result["runs"][runner]
        rest = [(it["seconds"] - it["work_seconds"]) / it["steps"] for it in runs]
        cells = (spread([it["seconds"] for it in runs]), spread([it["work_seconds"] for it in runs]), spread(rest))
        print(f"| `{runner}` | {' | '.join(cells)} |")


def spread(numbers: list[float]) -> str:
    """Return the median and the range, formatted."""
    return f"{statistics.median(numbers):.1f} s ({min(numbers):.1f} – {max(numbers):.1f})"


if __name__ == "__main__":
    main()
