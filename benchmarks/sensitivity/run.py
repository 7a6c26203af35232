"""Compare the sensitivity analysis with an exhaustive one.

    python -m benchmarks.sensitivity.run [digits] [mobilenet] [stdlib-text]

The exhaustive one prunes every group at nine ratios, and runs each result on all held-out examples. Weights are first
trained with the shipped settings, and kept in ``build/benchmarks/sensitivity``. Seconds are CPU seconds of one thread,
which other work on the machine hardly affects. Writes ``results.jsonl``.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr, t

from benchmarks import WORK
from benchmarks.records import Records
from benchmarks.sensitivity.models import Study, prepare
from reprune.data.datasets import iter_batches
from reprune.planning.sensitivity.adaptive_grid import RATIOS
from reprune.planning.sensitivity.analyze import Scored, analyze_sensitivity, score_cells
from reprune.planning.sensitivity.batching import chunks
from reprune.planning.sensitivity.fisher import gate_gradients
from reprune.planning.sensitivity.suffix_runner import SuffixRunner
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.surgery import apply, recipe_for
from reprune.pruning.verify import cells_of

WEIGHTS = WORK / "sensitivity"
RESULTS = Path(__file__).with_name("results.jsonl")
MODELS = ("digits", "mobilenet", "stdlib-text")
SEEDS = 10
CHUNK = 64
SAME = 1e-6
"""Tolerance between two float32 runs of one model at different batch sizes."""

Point = tuple[str, int]
"""A group and a width."""


class Exhaustive:
    """Every group pruned at nine ratios, and run on every example.

    The losses come from the exported graph with the removed channels zeroed, and are kept in the build folder. The
    seconds are those of cutting and running whole models, at every tenth point, scaled to all points.

    Args:
        study: Model and examples.
        analysis: Groups of the model.
        saliency: Importance scores that order the channels.
    """

    def __init__(self, study: Study, analysis: Analysis, saliency: dict[str, torch.Tensor]) -> None:
        orders = {name: torch.argsort(it, descending=True, stable=True).tolist() for name, it in saliency.items()}
        self.points: list[Point] = [
            (group.name, width)
            for group in analysis.groups
            for width in sorted({max(1, round((1 - ratio) * group.width)) for ratio in RATIOS} - {group.width})
        ]
        kept = WEIGHTS / f"{study.name}-exhaustive.npz"
        if not kept.exists():
            np.savez(kept, matrix=self._matrix(study, analysis, orders))
        self.matrix = np.load(kept)["matrix"]
        self._study, self._analysis, self._orders = study, analysis, orders

    def seconds(self, first: int) -> float:
        """Return the seconds to prune at every point and run the first examples."""
        study, analysis = self._study, self._analysis
        batches = list(iter_batches(study.held_out, limit=first))
        timed = self.points[::10]  # another ratio of each group in turn
        started = time.process_time()
        for name, width in timed:
            removed = cells_of(analysis, {name: self._orders[name][:width]})
            losses(study, apply(study.model, recipe_for(study.model, analysis, removed)).eval(), batches)
        return (time.process_time() - started) * len(self.points) / len(timed)

    def _matrix(self, study: Study, analysis: Analysis, orders: dict[str, list[int]]) -> np.ndarray:
        """Return the rise of each example's loss at each point, ``[points, N]``."""
        parts = []
        batches = [(chunk.inputs, chunk) for chunk in chunks(iter_batches(study.held_out), CHUNK)]
        runner = SuffixRunner(study.model, analysis, batches[0][0])
        for inputs, chunk in batches:
            values = runner.dense(inputs, orders)
            dense = study.loss(chunk.real(runner.outputs(values)), chunk.targets).double()
            with torch.no_grad():
                outputs = (runner.narrowed(values, {name: orders[name][:width]}) for name, width in self.points)
                parts.append([(study.loss(chunk.real(y), chunk.targets).double() - dense).numpy() for y in outputs])
        return np.concatenate([np.array(part) for part in parts], axis=1)


def losses(study: Study, model: torch.nn.Module, batches: Sequence[Any]) -> np.ndarray:
    """Return the loss of every example, ``[N]``."""
    with torch.no_grad():
        return np.concatenate([study.loss(model(x), y).double().numpy() for x, y in batches])


def ours(
    study: Study, analysis: Analysis, scored: Scored, truth: Exhaustive, first: int, seed: int
) -> dict[str, float]:
    """Return the figures of one analysis of the first held-out examples."""
    batches = list(iter_batches(study.held_out, limit=first))
    scored = scored._replace(losses=scored.losses[:first])
    started = time.process_time()
    found = analyze_sensitivity(study.model, analysis, batches, study.loss, scored=scored, seed=seed)
    seconds = time.process_time() - started
    estimates = {(name, point.width): point for name, curve in found.curves.items() for point in curve.points}
    exact = truth.matrix[:, :first].mean(1)
    inside = [
        estimates[point].interval[0] - SAME <= value <= estimates[point].interval[1] + SAME
        for point, value in zip(truth.points, exact, strict=True)
    ]
    measured = [estimates[point].examples > 0 for point in truth.points]
    return {
        "seconds": seconds,
        "cheaper_in_seconds": truth.seconds(first) / seconds,
        "cheaper": found.exhaustive_layer_evaluations / found.layer_evaluations,
        "spearman": spearmanr([estimates[point].loss_increase for point in truth.points], exact)[0],
        "spearman_measured": spearmanr(
            [estimates[p].loss_increase for p, m in zip(truth.points, measured, strict=True) if m], exact[measured]
        )[0],
        "covered": float(np.mean(inside)),
        "covered_measured": float(np.mean(np.array(inside)[measured])),
        "points_measured": int(np.sum(measured)),
        "examples_a_point": float(
            np.mean([estimates[p].examples for p, m in zip(truth.points, measured, strict=True) if m])
        ),
    }


def subset(truth: Exhaustive, first: int, examples: int, seed: int) -> dict[str, float]:
    """Return the figures of measuring every point on a plain random subset."""
    rises = truth.matrix[:, :first]
    chosen = rises[:, np.random.default_rng(seed).permutation(first)[:examples]]
    exact, mean = rises.mean(1), chosen.mean(1)
    error = chosen.std(1, ddof=1) / examples**0.5 * (1 - examples / first) ** 0.5
    inside = np.abs(mean - exact) <= t.isf(0.025, examples - 1) * error + SAME
    return {
        "cheaper": first / examples,
        "spearman": spearmanr(mean, exact)[0],
        "covered": float(inside.mean()),
        "examples_a_point": examples,
    }


def from_gradients(study: Study, analysis: Analysis, saliency: Any, truth: Exhaustive, first: int) -> dict[str, Any]:
    """Return the rank correlations of gradient-based scores, without measurement."""
    parts = chunks(iter_batches(study.held_out, limit=first), CHUNK)
    runner = SuffixRunner(study.model, analysis, parts[0].inputs)
    gates = torch.cat(
        [gate_gradients(runner, it.inputs, lambda y, it=it: study.loss(it.real(y), it.targets)) for it in parts]
    ).double()
    scores = {"first-order Taylor": gates.mean(0).abs(), "Fisher alone": gates.square().mean(0)}
    exact, found = truth.matrix[:, :first].mean(1), {}
    for name, channel_scores in scores.items():
        guess = []
        for group, width in truth.points:
            order = torch.argsort(saliency[group], descending=True, stable=True)[width:]
            guess.append(float(channel_scores[analysis.offsets[group] + order].sum()))
        found[name] = {"spearman": spearmanr(guess, exact)[0], "cheaper": (len(truth.points) + 1) / 3}
    return found


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return each figure's mean over seeds, and the worst correlation and coverage."""
    found = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return found | {f"lowest_{key}": float(min(row[key] for row in rows)) for key in ("spearman", "covered")}


def benchmark(name: str) -> dict[str, Any]:
    """Return all figures of one model."""
    study = prepare(name, WEIGHTS)
    batches = list(iter_batches(study.held_out))
    analysis = analyze(study.model, batches[0][0][:2])
    scored = score_cells(study.model, analysis, batches, study.loss, "taylor")
    saliency = scored.saliency
    truth = Exhaustive(study, analysis, saliency)
    layers = SuffixRunner(study.model, analysis, batches[0][0][:2])
    reach = np.mean([layers.layers(group.name) for group in analysis.groups]) / layers.layers()
    result: dict[str, Any] = {
        "groups": len(analysis.groups),
        "points": len(truth.points),
        "share_of_layers_after_a_group": float(reach),
        "splits": {},
    }
    for split, first in (("held-out", len(study.held_out)), ("shipped validation", len(study.validation))):
        runs = [ours(study, analysis, scored, truth, first, seed) for seed in range(SEEDS)]
        figures = mean(runs)
        same_cost = max(2, round(first / figures["cheaper"]))
        result["splits"][split] = {
            "examples": first,
            "reprune": figures,
            "plain subset, same cost": mean([subset(truth, first, same_cost, seed) for seed in range(SEEDS)]),
            **from_gradients(study, analysis, saliency, truth, first),
        }
    return result


def main() -> None:
    """Measure the named models, or all, and keep the results of the others."""
    torch.set_num_threads(1)
    known = Records(RESULTS)
    for name in sys.argv[1:] or MODELS:
        found = {"model": name, **benchmark(name)}
        print(json.dumps(found, indent=1), flush=True)
        others = [record for record in known if record["model"] != name]
        known.replace(sorted([*others, found], key=lambda it: MODELS.index(it["model"])))


if __name__ == "__main__":
    main()
