"""Compare starting points and learning rates of a second cycle after mild drift.

    OMP_NUM_THREADS=1 python -m benchmarks.recovery.warm_choices --seeds 0..2      # resumes

A digits champion is made as a cycle makes it, with the widths of the cycle in ``warm_start_cut_again.jsonl``. Then
every split is rotated by six degrees (``drifted.py``), and second cycles are run: dense models trained from scratch or
from the previous weights, candidates cut again from the dense model or started from the champion's weights, at two
learning rates, for fewer or more epochs. Each candidate is compared on test with its dense model and with the champion,
as the gate does. Results are appended to ``warm_choices.jsonl``.
"""

import argparse
import copy
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import benchmarks
from benchmarks.records import Records
from reprune.config import loading
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.gate.paired_test import drop_interval
from reprune.pruning import bundle
from reprune.pruning.batchnorm import reestimate
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score as saliencies
from reprune.pruning.iterative.cost import Cost, macs_of
from reprune.pruning.iterative.pruner import best_cells, first_batches
from reprune.pruning.prune import cut
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import replay
from reprune.steps.recovery import mean_loss
from reprune.training.evaluation import losses, scores
from reprune.training.trainer import Settings, seed_everything
from reprune.training.workload_training import learn

HERE = Path(__file__).resolve().parent
WORK = benchmarks.WORK / "recovery"
RESULTS = HERE / "warm_choices.jsonl"
DIGITS = loading.load("digits")
ROTATED = DIGITS.replace(
    splits={name: f"drifted:{name}" for name in ("train", "validation", "test", "production")}, code=str(HERE)
)

DENSE = {"from scratch": (40, 0.1), "warm, 0.1": (12, 0.1), "warm, 0.03": (12, 0.03)}
"""Epochs and learning rate of the second dense model."""

CANDIDATES = [
    # dense model, start of the candidate, epochs, learning rate
    ("warm, 0.1", "cut", 14, 0.1),
    ("warm, 0.03", "cut", 14, 0.03),
    ("warm, 0.03", "champion", 14, 0.03),
    ("warm, 0.1", "cut", 22, 0.1),
    ("warm, 0.1", "champion", 14, 0.1),
    ("warm, 0.1", "champion", 22, 0.1),
    ("warm, 0.1", "champion", 14, 0.03),
    ("warm, 0.03", "cut", 14, 0.1),
    ("warm, 0.03", "champion", 14, 0.1),
    ("from scratch", "cut", 42, 0.1),
]
"""The first three run first, with all seeds."""


class Cycles:
    """A first cycle with one seed, and second ones.

    Args:
        seed: Seed of the weights and of the order of examples.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.before, self.after = Data(DIGITS), Data(ROTATED)
        self.task = tasks.of(DIGITS, self.before)
        self.dense = cache(self._dense)

    def train(self, data, model, epochs, rate, *, teacher=None, shift=0):
        """Train a model in place with the shipped settings."""
        how = DIGITS.train
        settings = Settings(
            epochs=epochs,
            learning_rate=rate,
            optimizer=how.optimizer,
            weight_decay=how.weight_decay,
            seed=self.seed + shift,
        )
        # A teacher is frozen, and these models are trained further
        learn(DIGITS, data, self.task, model, settings, teacher=copy.deepcopy(teacher))
        return model

    @cache  # noqa: B019
    def first(self) -> nn.Module:
        """Return the dense model of the first cycle."""
        how = DIGITS.train
        return self._kept("first", self._built(), lambda it: self.train(self.before, it, how.epochs, how.learning_rate))

    @cache  # noqa: B019
    def champion(self) -> tuple[nn.Module, Recipe]:
        """Return the pruned model of the first cycle, and its recipe."""
        model, recipe = self._cut(self.first(), self.before)
        train = lambda it: self.train(self.before, it, 42, 0.1, teacher=self.first(), shift=1)  # noqa: E731
        return self._kept("champion", model, train), recipe

    def candidate(self, dense: str, start: str, epochs: int, rate: float) -> nn.Module:
        """Return the pruned model of a second cycle."""
        teacher = self.dense(dense)
        if start == "champion":
            model = copy.deepcopy(self.champion()[0])
        elif dense == "from scratch":
            model, _ = self._cut(teacher, self.after)
        else:
            model = replay(teacher, self.champion()[1])
            reestimate(model, (inputs for inputs, _ in self._examples(self.after)))
        return self.train(self.after, model.train(), epochs, rate, teacher=teacher, shift=1)

    def judged(self, model: nn.Module) -> tuple[np.ndarray, float]:
        """Return the scores and the mean loss on the rotated test split."""
        rows = [of(model, self.after.batches("test"), self.task) for of in (scores, losses)]
        return rows[0], float(rows[1].mean())

    def cost(self, dense: str, model: nn.Module, epochs: int) -> float:
        """Return the cost of a second cycle in dense trainings."""
        example = self.after.example()
        price = Cost(macs_of(self.dense(dense), example), DIGITS.train.epochs, taught=True)
        return DENSE[dense][0] / DIGITS.train.epochs + price.of(macs_of(model, example), epochs)

    def _dense(self, name: str) -> nn.Module:
        epochs, rate = DENSE[name]
        model = self._built() if name == "from scratch" else copy.deepcopy(self.first())
        return self.train(self.after, model, epochs, rate)

    def _kept(self, name: str, model: nn.Module, train: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Train a model, or load the weights that an earlier run trained."""
        path = WORK / f"warm-{name}-{self.seed}.safetensors"
        if path.exists():
            model.load_state_dict(load_file(path))
            return model.eval()
        train(model)
        WORK.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), path)
        return model

    def _built(self) -> nn.Module:
        seed_everything(self.seed)
        return bundle.build(DIGITS.model, key="model")

    def _examples(self, data: Data):
        return first_batches(data.training_batches(batch_size=DIGITS.train.batch_size, seed=self.seed), 512)

    def _cut(self, dense: nn.Module, data: Data) -> tuple[nn.Module, Recipe]:
        seed_everything(self.seed)  # images are distorted at random as they are loaded
        analysis, batches = analyze(dense, data.example()), self._examples(data)
        saliency = saliencies(dense, analysis, DIGITS.prune.criterion, batches, mean_loss(self.task))
        model, recipe = cut(dense, analysis, best_cells(saliency, planned_widths(), analysis))
        reestimate(model, (inputs for inputs, _ in batches))
        return model, recipe


@cache
def planned_widths() -> dict[str, int]:
    """Return the widths that an earlier run of the pipeline planned."""
    (cycle,) = Records(HERE / "warm_start_cut_again.jsonl").select(cycle="second, warm")
    return cycle["warm_start"]["round"]["widths"]


def paired(model: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return the examples lost and gained against another model, and the gate's bound."""
    lost, gained = int((other > model).sum()), int((model > other).sum())
    _, bound = drop_interval(lost, gained, len(model), 0.95)
    return {"lost": lost, "gained": gained, "bound": bound}


def main() -> None:
    """Measure the candidates that the file lacks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="0..2")
    first, last = map(int, parser.parse_args().seeds.split(".."))
    done = Records(RESULTS)
    torch.set_num_threads(1)
    cycles = {seed: Cycles(seed) for seed in range(first, last + 1)}
    for candidates, seed in product((CANDIDATES[:3], CANDIDATES[3:]), cycles):
        for asked in candidates:
            if not done.select(seed=seed, asked=list(asked)):
                done.add(**measure(cycles[seed], asked))


def measure(cycles: Cycles, asked: tuple[str, str, int, float]) -> dict[str, Any]:
    """Make a candidate, and compare it with its dense model and the champion."""
    dense, _, epochs, _ = asked
    started = time.process_time()
    model = cycles.candidate(*asked)
    found, reference, champion = (cycles.judged(it) for it in (model, cycles.dense(dense), cycles.champion()[0]))
    scored = (("candidate", found), ("dense", reference), ("champion", champion))
    return {
        "seed": cycles.seed,
        "asked": list(asked),
        "cost": cycles.cost(dense, model, epochs),
        "score": {name: float(scores.mean()) for name, (scores, _) in scored},
        "loss": {name: loss for name, (_, loss) in scored},
        "against": {"dense": paired(found[0], reference[0]), "champion": paired(found[0], champion[0])},
        "cpu_seconds": time.process_time() - started,
    }


if __name__ == "__main__":
    main()
