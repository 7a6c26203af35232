"""Kill a training of the digits over and over, at random moments, and compare where it ends with one left alone.

python docs/benchmarks/training/kills.py --kills 50      # writes kills.json beside this file
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent


def live(store, epochs, *, seconds=None):
    """Run a life to its end, or until so many seconds after it began; returns its lines and whether it was killed."""
    command = [sys.executable, str(HERE / "life.py"), str(store), str(epochs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline())]
        assert lines[0]["event"] == "started"
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        lines += [json.loads(line) for line in process.stdout if line.endswith("\n")]
    killed = process.returncode == -9
    assert killed or process.returncode == 0
    return lines, killed


def main():
    """Train once undisturbed and once under kills; write what was lost and whether the ends are the same."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch:
        alone, _ = live(Path(scratch) / "alone", asked.epochs)
        times = sorted(line["seconds"] for line in alone if line["event"] == "epoch")
        typical = times[len(times) // 2]
        draw, lives, store = random.Random(asked.seed), [], Path(scratch) / "killed"
        kept, again = 0, 0
        while len(lives) < asked.kills:
            # On average a life trains for less than the epochs that are left over the kills that are left
            most = max(2 * (asked.epochs - 1 - kept) / (asked.kills - len(lives)), 0.2)
            lines, killed = live(store, asked.epochs, seconds=draw.uniform(0, most * typical))
            if not killed:
                break
            epochs = [line["epoch"] for line in lines if line["event"] == "epoch"]
            assert all(now == before + 1 for before, now in zip(epochs, epochs[1:], strict=False))
            if epochs:
                # An epoch may have been kept and the process killed before it told so
                again += max(kept + 1 - epochs[0], 0)
                kept = epochs[-1]
            lives.append(epochs)
            print(f"kill {len(lives)}: {kept} of {asked.epochs} epochs kept", flush=True)
        last, _ = live(store, asked.epochs)
        first = next((line["epoch"] for line in last if line["event"] == "epoch"), asked.epochs + 1)
        again += max(kept + 1 - first, 0)
    ends = [{key: lines[-1][key] for key in ("weights_sha256", "losses_sha256")} for lines in (alone, last)]
    result = {
        "epochs": asked.epochs,
        "kills": len(lives),
        "kills_before_the_first_epoch_of_a_life": sum(not life for life in lives),
        "finished_epochs_done_again": again,
        "identical": ends[0] == ends[1],
        "seconds_an_epoch": typical,
        "lives": lives,
        "ends": ends,
    }
    (HERE / "kills.json").write_text(json.dumps(result, indent=2) + "\n")
    print({key: value for key, value in result.items() if key not in ("lives", "ends")})


if __name__ == "__main__":
    main()
