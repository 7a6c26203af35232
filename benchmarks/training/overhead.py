"""Measure the share of an epoch outside forward, backward and optimizer.

    OMP_NUM_THREADS=1 python -m benchmarks.training.overhead      # writes overhead.json

Measures the process's CPU time, which other work on the machine hardly affects, and wall time. Checkpoints alternate
between epochs: as they are now, and as before, with copies of all tensors on the way.
"""

import json
import statistics
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import safetensors.torch
import torch

from reprune import hashing
from reprune.config.loading import load
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.pruning import bundle
from reprune.storage.checkpoints import Checkpoints
from reprune.storage.uri import open_store
from reprune.training import evaluation, gradient_accumulation, loop
from reprune.training.trainer import Settings, seed_everything
from reprune.training.workload_training import learn

EPOCHS = 41
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
STEPS = ("forward", "backward", "optimizer")
FOLDER = Path(__file__).parent


class Shares:
    """Seconds spent in named parts, by each clock.

    Time in a part inside another counts for the inner part only.
    """

    def __init__(self):
        self.seconds = {}
        self._inside = []

    @contextmanager
    def part(self, name):
        """Count the time inside for a part."""
        self._inside.append(dict.fromkeys(CLOCKS, 0.0))
        started = {clock: read() for clock, read in CLOCKS.items()}
        try:
            yield
        finally:
            inner = self._inside.pop()
            spent = self.seconds.setdefault(name, dict.fromkeys(CLOCKS, 0.0))
            for clock, read in CLOCKS.items():
                passed = read() - started[clock]
                spent[clock] += passed - inner[clock]
                if self._inside:
                    self._inside[-1][clock] += passed

    def timed(self, function, name):
        """Return a function whose time counts for a part."""

        def call(*arguments, **keywords):
            with self.part(name):
                return function(*arguments, **keywords)

        return call

    def iterated(self, batches):
        """Yield batches; their loading counts as ``data``."""
        stream = iter(batches)
        while True:
            with self.part("data"):
                batch = next(stream, None)
            if batch is None:
                return
            yield batch


class Copying(Checkpoints):
    """Checkpoints as before: all tensors copied into one byte string, twice."""

    def save(self, name, tensors, state):
        """Write a new generation, and delete all but the last two."""
        metadata = {"state": json.dumps(state), "owner": json.dumps(self._owner), "name": name}
        payload = safetensors.torch.save(tensors, metadata=metadata)
        generations = self._generations(name)
        self._store.put(self._key(name, generations[-1] + 1), hashing.of_bytes(payload).encode() + b"\n" + payload)
        for old in generations[:-1]:
            self._store.delete(self._key(name, old))


def measure(name):
    """Train a shipped workload; return each part's median seconds, by checkpoint kind."""
    workload = load(name)
    data, train = Data(workload), workload.train
    task = tasks.of(workload, data)
    seed_everything(0)
    model = bundle.build(workload.model, key="model")
    settings = Settings(epochs=EPOCHS, learning_rate=train.learning_rate, optimizer=train.optimizer)
    shares, rows, before = Shares(), [], {clock: read() for clock, read in CLOCKS.items()}

    def row(_):
        nonlocal before
        now = {clock: read() for clock, read in CLOCKS.items()}
        rows.append({"all": {clock: now[clock] - before[clock] for clock in CLOCKS}} | shares.seconds)
        shares.seconds, before = {}, now

    with ExitStack() as patches, TemporaryDirectory(dir=".") as store:
        place = (open_store(store), name, "a" * 64)
        checkpoints, copying = Checkpoints(*place), Copying(*place)
        turns = cycle((checkpoints.save, copying.save))
        checkpoints.save = lambda *arguments: next(turns)(*arguments)
        optimizer = torch.optim.SGD if train.optimizer == "sgd" else torch.optim.AdamW
        for owner, attribute, part in (
            (gradient_accumulation, "call", "forward"),
            (task, "loss", "forward"),
            (torch.Tensor, "backward", "backward"),
            (torch.nn.utils, "clip_grad_norm_", "optimizer"),
            (optimizer, "step", "optimizer"),
            (optimizer, "zero_grad", "optimizer"),
            (evaluation, "call", "validation's forward passes"),
            (loop.Loop, "_validated", "the rest of validation"),
            (loop.Loop, "_keep", "checkpoint"),
        ):
            patches.enter_context(patch.object(owner, attribute, shares.timed(getattr(owner, attribute), part)))
        load_batches = data.training_batches
        data.training_batches = lambda **asked: _Counted(load_batches(**asked), shares)
        learn(workload, data, task, model, settings, checkpoints=checkpoints, on_epoch=row)
    parts = ["all", *STEPS, "data", "validation's forward passes", "the rest of validation", "checkpoint"]
    return {
        way: {
            clock: {part: statistics.median(r.get(part, {}).get(clock, 0.0) for r in some) for part in parts}
            for clock in CLOCKS
        }
        for way, some in (("now", rows[2::2]), ("copying", rows[1::2]))  # the first epoch loads the data
    }


class _Counted:
    """A loader whose loading time is counted."""

    def __init__(self, loader, shares):
        self.loader, self.shares = loader, shares

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        return self.shares.iterated(self.loader)


def main():
    """Measure the named shipped workloads, by default the digits."""
    found = {}
    for name in sys.argv[1:] or ["digits"]:
        found[name] = measure(name)
        for way, clocks in found[name].items():
            for clock, parts in clocks.items():
                inside = sum(parts[part] for part in STEPS)
                validated = inside + parts["validation's forward passes"]
                print(
                    f"{name}, {way}, {clock}: {1 - inside / parts['all']:.1%} outside forward, backward, optimizer;",
                    end="",
                )
                print(f" {1 - validated / parts['all']:.1%} with validation's forward passes inside", parts)
    (FOLDER / "overhead.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
