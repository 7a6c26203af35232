"""Dense and candidate under harder conditions: corrupted inputs and the latest production window."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from reprune.data.datasets import Batch, Data, iter_arrays
from reprune.gate.confidence_intervals import mean_interval
from reprune.gate.corruptions import fitting
from reprune.gate.predictions import CANDIDATE, DENSE, Runner

MOST_EXAMPLES = 1024
"""Examples that each condition is tried on: enough to tell five points, and a bounded price."""

PRODUCTION = "production"


@dataclass(frozen=True)
class Condition:
    """Scores under one condition.

    Attributes:
        dense: Scores of the dense model, ``[M]``.
        candidate: Scores of the candidate on the same examples, ``[M]``.
        corrupted: Whether these are the first examples of the split, corrupted; else they are others.
        labelled: Whether the labels tell anything: the dense model does better than chance by them.
    """

    dense: np.ndarray
    candidate: np.ndarray
    corrupted: bool
    labelled: bool = True


def gather(runner: Runner, data: Data, split: str, *, seed: int) -> dict[str, Condition]:
    """Let dense and candidate answer the first examples, corrupted in each fitting way, and the production window.

    Args:
        runner: Has the models open.
        data: The evaluation's data.
        split: The split whose examples are corrupted.
        seed: Seed of noise and of what goes missing.
    """
    reference, _ = next(data.arrays(split))
    found = {}
    for corruption in fitting(reference):
        generator = np.random.default_rng(seed)
        batches = data.arrays(split, limit=MOST_EXAMPLES)
        corrupted = ((corruption.apply(inputs, reference, generator), targets) for inputs, targets in batches)
        found[corruption.name] = _tried(runner, corrupted, corrupted=True)
    window = data.production()
    if window is not None:
        found[PRODUCTION] = _tried(runner, iter_arrays(window, limit=MOST_EXAMPLES), corrupted=False)
    return found


def _tried(runner: Runner, batches: Iterable[Batch], *, corrupted: bool) -> Condition:
    answers, labels = [], []
    for inputs, targets in batches:
        answers.append(runner.try_out(inputs, targets))
        labels.append(targets)
    scores = {name: np.concatenate([part[name]["scores"] for part in answers]) for name in (DENSE, CANDIDATE)}
    labelled = True
    if not corrupted and "predicted_class" in answers[0][DENSE]:
        predicted = np.concatenate([part[DENSE]["predicted_class"] for part in answers])
        labelled = _better_than_chance(scores[DENSE], predicted, np.concatenate(labels))
    return Condition(scores[DENSE], scores[CANDIDATE], corrupted, labelled)


def _better_than_chance(scores: np.ndarray, predicted: np.ndarray, labels: np.ndarray) -> bool:
    chance = sum(float((labels == it).mean() * (predicted == it).mean()) for it in np.unique(labels))
    return mean_interval(scores).low > chance
