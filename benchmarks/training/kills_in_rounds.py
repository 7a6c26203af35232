"""Kill iterative pruning again and again, and compare its end.

    OMP_NUM_THREADS=1 python -m benchmarks.training.kills_in_rounds      # writes kills_in_rounds.json

A small network for the digits is pruned in four rounds with twenty epochs of recovery each, by the parts of the
``prune`` step. The remaining share of multiply-accumulates replaces the latency: measured times differ between runs, so
two runs would not cut alike. Each attempt resumes, and is killed after a random CPU time (``killable_process.py``). The
end is compared with that of an uninterrupted run.
"""

import argparse
import json
import random
import statistics
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.training import killable_process
from reprune import hashing
from reprune.config import loading
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.data.model_io import call
from reprune.pruning.iterative.cost import Cost, macs_of
from reprune.pruning.iterative.pruner import Limits, Loop, Parts, first_batches
from reprune.pruning.iterative.pruner_state import Progress
from reprune.pruning.iterative.rounds import Judgement, Measured
from reprune.pruning.iterative.schedules import Fixed
from reprune.storage.checkpoints import Checkpoints
from reprune.storage.uri import open_store
from reprune.training.trainer import Settings, seed_everything
from reprune.training.workload_training import learn

FOLDER = Path(__file__).parent
DIGITS = loading.load("digits")
WIDTH, ROUNDS, EPOCHS = 80, 5, 20
MAX_EPOCHS = 4.5
"""Longest killed attempt, in epochs; about two of these pass before its first epoch ends."""


def network():
    """Return a small convolutional network whose dropout draws random numbers."""
    seed_everything(0)
    return nn.Sequential(
        *(nn.Conv2d(1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(WIDTH * 16, 10)),
    )


class Problem:
    """The dense model and its data, made once and inherited by every attempt."""

    def __init__(self):
        self.data = Data(DIGITS)
        self.task = tasks.of(DIGITS, self.data)
        self.example = self.data.example()
        self.dense = network()
        self.train(self.dense, 5, None, "dense", seed=0)
        self.saliency = first_batches(self.data.training_batches(batch_size=64, seed=0), 256)
        self.macs = macs_of(self.dense, self.example)
        self.prune(None)  # import everything once, before the forks

    def train(self, model, epochs, checkpoints, name, *, seed, teacher=None, on_epoch=None):
        """Train a model in place as the steps do."""
        settings = Settings(epochs=epochs, learning_rate=0.05, optimizer="sgd", seed=seed)
        learn(
            *(DIGITS, self.data, self.task, model, settings),
            teacher=teacher,
            checkpoints=checkpoints,
            name=name,
            on_epoch=on_epoch,
        )

    @torch.no_grad()
    def judge(self, model):
        """Return the loss and the scores on validation."""
        model.eval()
        rows = [(call(model, x), y) for x, y in self.data.batches("validation")]
        losses, scores = ([of(*row) for row in rows] for of in (self.task.loss, self.task.score))
        return Judgement(float(torch.cat(losses).double().mean()), torch.cat(scores).double().numpy())

    def measure(self, model):
        """Return the multiply-accumulates of a model as its cost."""
        ratio = macs_of(model, self.example) / self.macs
        return Measured(ratio, 4 * sum(parameter.numel() for parameter in model.parameters()), 100 * ratio)

    def prune(self, store, report=lambda *values: None):
        """Prune in rounds; with a store, resume from its checkpoints."""
        checkpoints = Checkpoints(open_store(store), "digits", "a" * 64) if store else None

        def recover(model, number, again, epochs):
            name = f"round-{number}{'-again' * again}"
            on_epoch = lambda epoch: report(number, int(again), epoch.epoch)  # noqa: E731
            seed = 100 + number + 1000 * again
            self.train(model, epochs, checkpoints, name, seed=seed, teacher=self.dense, on_epoch=on_epoch)

        parts = Parts(
            example_inputs=self.example,
            criterion="taylor",
            saliency_batches=self.saliency,
            loss=cross_entropy,
            recover=recover,
            judge=self.judge,
            measure=self.measure,
            clock=lambda: 0.0,
        )
        limits = Limits(epochs=EPOCHS, drop=0.5, cost=Cost(self.macs, 5, taught=True), most=100.0)
        dense = network()
        dense.load_state_dict(self.dense.state_dict())
        return Loop(parts, limits, Fixed("constant", ROUNDS, EPOCHS)).run(
            *(dense, self.judge(dense), {"0": 8, "4": 8}),
            progress=Progress(checkpoints),
            on_round=lambda done, _: report(done.round, 2, 1),
        )


def prune(problem, store, report):
    """Prune, report each finished epoch and round, and return hashes of the end.

    A report is round, try, epoch and CPU seconds; the first three only rise. The end of a round is reported as the
    first epoch of a third try.
    """
    outcome = problem.prune(store, lambda *values: report([*values, time.process_time()]))
    raw = b"".join(tensor.numpy().tobytes() for tensor in outcome.model.state_dict().values())
    rounds = hashing.of_json([it.model_dump() for it in outcome.rounds])
    recipe = hashing.of_json(outcome.recipe.to_json())
    return {"weights_sha256": hashing.of_bytes(raw), "recipe_sha256": recipe, "rounds_sha256": rounds}


def main():
    """Prune once without and once with kills, and compare the ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    problem, draw, attempts, end = Problem(), random.Random(arguments.seed), [], None
    with TemporaryDirectory() as scratch:
        reports, uninterrupted = killable_process.run(prune, problem, f"{scratch}/uninterrupted")
        last, repeated = [0, 0, 0], 0
        cpu = [line[3] for line in reports]
        epoch = statistics.median(late - early for early, late in pairwise(cpu))
        longest = MAX_EPOCHS * epoch
        while end is None:
            seconds = draw.uniform(0.05, longest) if len(attempts) < arguments.kills else None
            reported, end = killable_process.run(prune, problem, f"{scratch}/killed", seconds=seconds)
            repeated += sum(it[:3] <= last for it in reported)
            last = reported[-1][:3] if reported else last
            if end is None:
                attempts.append(reported)
                print(f"kill {len(attempts)}: round {last[0]}, epoch {last[2]}", flush=True)
    result = {
        "kills": len(attempts),
        "kills_before_an_epoch_ended": sum(not reported for reported in attempts),
        "rounds": len([it for it in reports if it[1] == 2]),
        "epochs": len([it for it in reports if it[1] < 2]),
        "epochs_repeated": repeated,
        "cpu_seconds_an_epoch": epoch,
        "cpu_seconds_to_the_first_epoch": cpu[0],
        "uninterrupted": uninterrupted,
        "killed": end,
        "identical": uninterrupted == end,
    }
    (FOLDER / "kills_in_rounds.json").write_text(json.dumps(result | {"reports_by_attempt": attempts}) + "\n")
    print(result)


if __name__ == "__main__":
    main()
