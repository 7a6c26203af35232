"""Measure the cost of a second cycle after mild drift, warm and from scratch.

    python -m benchmarks.recovery.warm_start --seeds 0..2      # resumes

The first cycle prunes the shipped digits. Then every split is rotated by six degrees (``drifted.py``), and the cycle
runs twice more on copies of that store: once with the defaults, once with ``warm_start: 0``. The gate's latency checks
do not block. Each cycle is a line of ``warm_start.jsonl``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import yaml

import benchmarks
from benchmarks.records import Records
from reprune.config import loading
from reprune.steps.context import read_records
from reprune.storage.uri import open_store

HERE = Path(__file__).resolve().parent
WORK = benchmarks.WORK / "recovery"
RESULTS = HERE / "warm_start.jsonl"
DRIFTED = [f"{name}=drifted:{name}" for name in ("train", "validation", "test", "production")]
LATENCY_WARNS = dict.fromkeys(("latency", "tail_latency", "extreme_latency"), "warn")
"""Latency is measured and reported, but only accuracy decides, since the machine may be busy."""


def main() -> None:
    """Run the cycles that the file lacks, and print the cost of all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="0..2")
    first, last = map(int, parser.parse_args().seeds.split(".."))
    rows = Records(RESULTS, ("seed", "cycle"))
    for names, seed in product((("first", "second, warm"), ("second, from scratch",)), range(first, last + 1)):
        for name in names:
            if not rows.has(seed, name):
                rows.add(seed=seed, cycle=name, **cycle(WORK / f"cycles-{seed}", name, seed))
    for row in rows:
        start = rows.select(seed=row["seed"])[0]  # the first cycle of each seed comes before the others
        total, whole = sum(row["cost"].values()), sum(start["cost"].values())
        lost = ", ".join(f"bound {100 * (it['bound'] or 0):.2f} against {name}" for name, it in row["lost"].items())
        text = f"{total:.2f} dense trainings ({total / whole:.0%}), {row['outcome']}, {lost}"
        print(f"seed {row['seed']}, {row['cycle']}: {text}")


def cycle(folder: Path, name: str, seed: int) -> dict[str, Any]:
    """Run one cycle, and return its cost and outcome.

    A second cycle runs on a copy of the first one's store.
    """
    store, options = folder / name, []
    folder.mkdir(parents=True, exist_ok=True)
    if name != "first":
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(folder / "first", store)
        options = [word for each in DRIFTED for word in ("--split", each)]
    changes = {"seed": seed, "gate": LATENCY_WARNS} | ({"warm_start": 0.0} if name == "second, from scratch" else {})
    raw = loading.load("digits").replace(**changes).model_dump(mode="json", exclude_defaults=True)
    (folder / "digits.yaml").write_text(yaml.safe_dump(raw | {"code": str(HERE)}))
    command = [
        sys.executable,
        "-m",
        "reprune",
        "run",
        "digits.yaml",
        "--force",
        "--json",
        "--store",
        str(store),
    ]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    ended = json.loads(done.stdout)
    records = read_records(open_store(str(store)), "digits", ended["run"])
    return {
        "outcome": ended["outcome"],
        "reasons": ended["reasons"],
        "cost": records["finetune"]["cost"],
        "seconds": {name: record["seconds"] for name, record in records.items() if "seconds" in record},
        "warm_start": records["prune"]["warm_start"],
        "train": records["train"]["summary"],
        "comparison": ended["comparison"],
        "lost": {
            it["name"].removeprefix("quality against "): {"estimate": it["estimate"], "bound": it["high"]}
            for it in records["gate"]["checks"]
            if it["name"].startswith("quality against ")
        },
    }


if __name__ == "__main__":
    main()
