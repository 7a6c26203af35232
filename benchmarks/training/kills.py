"""Kill a training again and again, and compare its end with an uninterrupted one.

    OMP_NUM_THREADS=1 python -m benchmarks.training.kills --kills 50      # writes kills.json

Each attempt resumes from the checkpoint, and is killed after a random CPU time (``killable_process.py``).
"""

import argparse
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.training import killable_process
from reprune import hashing
from reprune.config.loading import load
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.pruning import bundle
from reprune.storage.checkpoints import Checkpoints
from reprune.storage.uri import open_store
from reprune.training.trainer import Settings, seed_everything
from reprune.training.workload_training import learn

FOLDER = Path(__file__).parent
START_UP = 0.15
"""CPU seconds to build the model and read the checkpoint."""


def train(store, epochs, report):
    """Train the digits as the ``train`` step does, and return hashes of the end.

    Reports each epoch.
    """
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
        on_epoch=lambda epoch: report({"epoch": epoch.epoch, "cpu_seconds": time.process_time()}),
    )
    raw = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    losses = [epoch.loss for epoch in history.epochs]
    return {"weights_sha256": hashing.of_bytes(raw), "losses_sha256": hashing.of_json(losses)}


def main():
    """Train once without and once with kills, and compare the ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workload = load("digits")  # import once, before the forks
    tasks.of(workload, Data(workload))
    Data(workload).split("train")
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    with TemporaryDirectory() as scratch:
        epochs, uninterrupted = killable_process.run(train, f"{scratch}/alone", arguments.epochs)
        result = {"epochs": arguments.epochs, "uninterrupted": uninterrupted}
        cpu = [line["cpu_seconds"] for line in epochs]
        typical = (cpu[-1] - cpu[0]) / (len(cpu) - 1)
        result |= _kill(f"{scratch}/killed", arguments, typical)
        last, end = killable_process.run(train, f"{scratch}/killed", arguments.epochs)
    result["epochs_repeated"] += max(
        result["epochs_kept"] + 1 - (last[0]["epoch"] if last else arguments.epochs + 1), 0
    )
    result |= {"killed": end, "identical": end == uninterrupted, "cpu_seconds_an_epoch": typical}
    (FOLDER / "kills.json").write_text(json.dumps(result, indent=2) + "\n")
    print({key: value for key, value in result.items() if key != "epochs_by_attempt"})


def _kill(store, arguments, typical):
    """Run attempts that are killed, and count the finished epochs that are repeated."""
    draw, attempts, kept, repeated = random.Random(arguments.seed), [], 0, 0
    while len(attempts) < arguments.kills:
        # So that about all epochs are over at the last kill
        most = max(2 * (arguments.epochs - 1 - kept) / (arguments.kills - len(attempts)), 0.2)
        lines, end = killable_process.run(
            train, store, arguments.epochs, seconds=START_UP + draw.uniform(0, most * typical)
        )
        if end:
            break
        epochs = [line["epoch"] for line in lines]
        assert epochs == list(range(epochs[0], epochs[0] + len(epochs))) if epochs else True
        if epochs:
            repeated += max(kept + 1 - epochs[0], 0)
            kept = epochs[-1]
        attempts.append(epochs)
        print(f"kill {len(attempts)}: {kept} of {arguments.epochs} epochs kept", flush=True)
    return {
        "kills": len(attempts),
        "epochs_by_attempt": attempts,
        "epochs_kept": kept,
        "epochs_repeated": repeated,
    }


if __name__ == "__main__":
    main()
