"""Where the time of an epoch goes: forward, backward and optimizer, and all that is not them.

    OMP_NUM_THREADS=1 python docs/benchmarks/training/overhead.py      # writes overhead.json beside this file

Times are CPU times of the process, so that other work on the machine does not count, beside wall times.
"""

import json
import statistics
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

from reprune import bundle, tasks
from reprune.data import Data
from reprune.store import open_store
from reprune.training import accumulation, loop
from reprune.training.checkpoint import Checkpoints
from reprune.training.fit import Settings, seed_everything
from reprune.training.lesson import learn
from reprune.workload import load

EPOCHS = 6
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
FOLDER = Path(__file__).parent


class Shares:
    """Seconds spent in named parts, by each clock; what a part calls counts as that part's alone."""

    def __init__(self):
        self.seconds = {}
        self._inside = False

    @contextmanager
    def part(self, name):
        """Count what happens inside."""
        if self._inside:
            yield
            return
        self._inside, started = True, {clock: read() for clock, read in CLOCKS.items()}
        try:
            yield
        finally:
            self._inside = False
            spent = self.seconds.setdefault(name, dict.fromkeys(CLOCKS, 0.0))
            for clock, read in CLOCKS.items():
                spent[clock] += read() - started[clock]

    def timed(self, function, name):
        """Return a function that is counted."""

        def call(*arguments, **keywords):
            with self.part(name):
                return function(*arguments, **keywords)

        return call

    def iterated(self, batches):
        """Return batches whose loading is counted."""
        stream = iter(batches)
        while True:
            with self.part("data"):
                batch = next(stream, None)
            if batch is None:
                return
            yield batch


def measure(name):
    """Train a shipped workload for a few epochs and return the median seconds of each part."""
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

    with ExitStack() as patches, TemporaryDirectory() as store:
        optimizer = torch.optim.SGD if train.optimizer == "sgd" else torch.optim.AdamW
        for owner, attribute, part in (
            (accumulation, "call", "forward"),
            (task, "loss", "forward"),
            (torch.Tensor, "backward", "backward"),
            (torch.nn.utils, "clip_grad_norm_", "optimizer"),
            (optimizer, "step", "optimizer"),
            (optimizer, "zero_grad", "optimizer"),
            (loop.Loop, "_validated", "validation"),
            (loop.Loop, "_keep", "checkpoint"),
        ):
            patches.enter_context(patch.object(owner, attribute, _counted(shares, owner, attribute, part)))
        load_batches = data.training_batches
        data.training_batches = lambda **asked: _Counted(load_batches(**asked), shares)
        learn(
            workload,
            data,
            task,
            model,
            settings,
            checkpoints=Checkpoints(open_store(store), name, "a" * 64),
            on_epoch=row,
        )
    parts = ["all", "forward", "backward", "optimizer", "data", "validation", "checkpoint"]
    return {
        clock: {part: statistics.median(r.get(part, {}).get(clock, 0.0) for r in rows[1:]) for part in parts}
        for clock in CLOCKS
    }


def _counted(shares, owner, attribute, part):
    return shares.timed(getattr(owner, attribute), part)


class _Counted:
    """A loader whose loading is counted."""

    def __init__(self, loader, shares):
        self.loader, self.shares = loader, shares

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        return self.shares.iterated(self.loader)


def main():
    """Measure the shipped workloads that are named; the digits by default."""
    found = {}
    for name in sys.argv[1:] or ["digits"]:
        found[name] = measure(name)
        for clock, parts in found[name].items():
            inside = parts["forward"] + parts["backward"] + parts["optimizer"]
            print(name, clock, f"outside: {1 - inside / parts['all']:.1%}", {k: round(v, 4) for k, v in parts.items()})
    (FOLDER / "overhead.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
