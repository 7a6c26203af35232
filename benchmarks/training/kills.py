"""Kill a training of the digits over and over, at random moments, and compare where it ends with one left alone.

    OMP_NUM_THREADS=1 python -m benchmarks.training.kills --kills 50      # writes kills.json beside this file

How a life is lived and ended is in lives.py.
"""

import argparse
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.training.lives import live
from reprune import bundle, digest, tasks
from reprune.data import Data
from reprune.store import open_store
from reprune.training.checkpoint import Checkpoints
from reprune.training.fit import Settings, seed_everything
from reprune.training.lesson import learn
from reprune.workload import load

FOLDER = Path(__file__).parent
SETTING_UP = 0.15
"""CPU seconds that a life takes to build its model and read its checkpoint."""


def train(store, epochs, tell):
    """Train the shipped digits as the ``train`` step does, tell of each epoch, and return where it ends."""
    workload = load("digits")
    data, how = Data(workload), workload.train
    seed_everything(workload.seed)
    model = bundle.build(workload.model, key="model")
    settings = Settings(
        epochs=epochs,
        learning_rate=how.learning_rate,
        optimizer=how.optimizer,
        weight_decay=how.weight_decay,
        seed=workload.seed,
    )
    history = learn(
        workload,
        data,
        tasks.of(workload, data),
        model,
        settings,
        checkpoints=Checkpoints(open_store(store), "digits", "a" * 64),
        on_epoch=lambda epoch: tell({"epoch": epoch.epoch, "cpu_seconds": time.process_time()}),
    )
    raw = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    losses = [epoch.loss for epoch in history.epochs]
    return {"weights_sha256": digest.of_bytes(raw), "losses_sha256": digest.of_json(losses)}


def main():
    """Train once undisturbed and once under kills; write what was lost and whether the ends are the same."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    workload = load("digits")  # what this imports, no life imports again
    tasks.of(workload, Data(workload))
    Data(workload).split("train")
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    with TemporaryDirectory() as scratch:
        epochs, alone = live(train, f"{scratch}/alone", asked.epochs)
        result = {"epochs": asked.epochs, "alone": alone}
        cpu = [line["cpu_seconds"] for line in epochs]
        typical = (cpu[-1] - cpu[0]) / (len(cpu) - 1)
        result |= _kill(f"{scratch}/killed", asked, typical)
        last, end = live(train, f"{scratch}/killed", asked.epochs)
    result["again"] += max(result["kept"] + 1 - (last[0]["epoch"] if last else asked.epochs + 1), 0)
    result |= {"killed": end, "identical": end == alone, "cpu_seconds_an_epoch": typical}
    (FOLDER / "kills.json").write_text(json.dumps(result, indent=2) + "\n")
    print({key: value for key, value in result.items() if key != "lives"})


def _kill(store, asked, typical):
    """Let lives follow each other, each killed; count finished epochs that a later life did again."""
    draw, lives, kept, again = random.Random(asked.seed), [], 0, 0
    while len(lives) < asked.kills:
        # So long that at the last kill about all of the epochs are over
        most = max(2 * (asked.epochs - 1 - kept) / (asked.kills - len(lives)), 0.2)
        lines, end = live(train, store, asked.epochs, seconds=SETTING_UP + draw.uniform(0, most * typical))
        if end:
            break
        epochs = [line["epoch"] for line in lines]
        assert epochs == list(range(epochs[0], epochs[0] + len(epochs))) if epochs else True
        if epochs:
            again += max(kept + 1 - epochs[0], 0)
            kept = epochs[-1]
        lives.append(epochs)
        print(f"kill {len(lives)}: {kept} of {asked.epochs} epochs kept", flush=True)
    return {"kills": len(lives), "lives": lives, "kept": kept, "again": again}


if __name__ == "__main__":
    main()
