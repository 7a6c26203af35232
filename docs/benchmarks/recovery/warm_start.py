"""What a second cycle costs after mild drift, beside the first, and beside a second one that begins anew.

    python docs/benchmarks/recovery/warm_start.py

Cycle 1 prunes the shipped digits. Then every split is turned by six degrees (drifted.py), and the cycle is run twice
more on copies of that store: once as it is by default, once with ``warm_start: 0``. Results go to warm_start.json.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from reprune import workload
from reprune.step import read_records
from reprune.store import open_store

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "warm_start.json"
DRIFTED = [f"{name}=drifted:{name}" for name in ("train", "validation", "test", "production")]


def main() -> None:
    """Run the three cycles and write what they cost."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = {"first": cycle(folder, "first", [])}
        for name, share in (("second, warm", None), ("second, anew", 0.0)):
            shutil.copytree(folder / "first", folder / name)
            rows[name] = cycle(folder, name, [word for each in DRIFTED for word in ("--split", each)], warm_start=share)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for name, row in rows.items():
        total, first = sum(row["cost"].values()), sum(rows["first"]["cost"].values())
        seconds = sum(row["seconds"].values()) / sum(rows["first"]["seconds"].values())
        print(f"{name}: {total:.2f} dense trainings ({total / first:.0%}), {seconds:.0%} of the time, {row['outcome']}")


def cycle(folder: Path, store: str, options: list[str], *, warm_start: float | None = None) -> dict[str, Any]:
    """Run the loop once, and return what it cost and came to."""
    changes = {} if warm_start is None else {"warm_start": warm_start}
    raw = workload.load("digits").replace(**changes).model_dump(mode="json", exclude_defaults=True)
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
        str(folder / store),
    ]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    ended = json.loads(done.stdout)
    records = read_records(open_store(str(folder / store)), "digits", ended["run"])
    return {
        "outcome": ended["outcome"],
        "reasons": ended["reasons"],
        "cost": records["finetune"]["cost"],
        "seconds": {name: record["seconds"] for name, record in records.items() if "seconds" in record},
        "warm_start": records["prune"]["warm_start"],
        "train": records["train"]["summary"],
        "comparison": ended["comparison"],
    }


if __name__ == "__main__":
    main()
