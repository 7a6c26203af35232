"""Compare methods to prune and recover in the same number of training steps.

    python -m benchmarks.recovery.run WORKLOAD [--seeds 1..5] [--levels 0.9,4x] [--epochs N]

WORKLOAD is digits or stdlib-text. Each combination of seed, level and method is one line of ``results.jsonl``; existing
ones are skipped, so an interrupted run resumes. Levels are shares of removed weights (0.5, 0.8, 0.9, 0.95), or measured
speed-ups by removed channels (2x, 4x, 8x). With ``--temperature``, the methods with a teacher run again, for
``temperature.jsonl``.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from benchmarks.records import Records
from benchmarks.recovery.study import Study, split
from reprune.errors import InputError
from reprune.pruning import masks
from reprune.pruning.batchnorm import reestimate
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.iterative import sparsity_schedules
from reprune.pruning.iterative.cost import Cost, macs_of
from reprune.pruning.iterative.pruner import Limits, Loop, Parts, best_cells, widths_at
from reprune.pruning.iterative.pruner_state import Progress
from reprune.pruning.iterative.rounds import Judgement, Measured
from reprune.pruning.iterative.schedules import Following
from reprune.pruning.prune import cut
from reprune.training.evaluation import losses, scores

RESULTS = Path(__file__).with_name("results.jsonl")
OTHER_TEMPERATURE = Path(__file__).with_name("temperature.jsonl")
LEVELS = ("0.5", "0.8", "0.9", "0.95", "2x", "4x", "8x")
EPOCHS = {"digits": 40, "stdlib-text": 4}
"""Epochs of recovery, as the shipped workload fine-tunes."""

PLAIN_ROUNDS = 4
"""Rounds of the plain method; each prunes the same share of the remaining weights, then trains."""

ROUND_EPOCHS = {"digits": 2, "stdlib-text": 1}

Row = dict[str, Any]


def main() -> None:
    """Run every combination that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=sorted(EPOCHS))
    parser.add_argument("--seeds", default="1..5")
    parser.add_argument("--levels", default=",".join(LEVELS))
    parser.add_argument("--epochs", type=int, help="fewer epochs, to try the script; results go to tried.jsonl")
    parser.add_argument("--temperature", type=float, help="temperature of the teacher; by default the workload's")
    given = parser.parse_args()
    torch.set_num_threads(1)
    first, _, last = given.seeds.partition("..")
    results = OTHER_TEMPERATURE if given.temperature else RESULTS
    results = results if given.epochs is None else RESULTS.with_name("tried.jsonl")
    other = {"temperature": given.temperature} if given.temperature else {}
    epochs = given.epochs or EPOCHS[given.workload]
    found = Records(results)
    done = {_key(row) for row in found}
    for seed in range(int(first), int(last or first) + 1):
        study = Study(given.workload, seed, epochs, **other)
        for level in given.levels.split(","):
            for method, run in (CHANNELS if level.endswith("x") else WEIGHTS).items():
                row: Row = {"workload": given.workload, "seed": seed, "level": level, "method": method} | other
                if _key(row) in done or (other and "distillation" not in method):
                    continue
                started = time.perf_counter()
                row |= {"dense": study.judge(study.dense)} | _run(run, study, level)
                row["seconds"] = time.perf_counter() - started
                found.add(**row)
                shown = f"{row['dense']['score']:.4f} → {row['score']:.4f}" if "score" in row else row["impossible"]
                print(f"{given.workload} seed {seed}, {level}, {method}: {shown}", flush=True)


def _key(row: Row) -> tuple[Any, ...]:
    return row["workload"], row["seed"], row["level"], row["method"], row.get("temperature")


def _run(run: Callable[[Study, float], Row], study: Study, level: str) -> Row:
    try:
        return run(study, float(level.removesuffix("x")))
    except InputError as error:
        return {"impossible": error.message}


# --- single weights -----------------------------------------------------------------------------------------------


def gradual_distilled(study: Study, sparsity: float) -> Row:
    """Grow masks by schedule and adaptive magnitude, with distillation (ours)."""
    model = copy.deepcopy(study.dense)

    @contextmanager
    def held(optimizer: torch.optim.Optimizer, steps: int) -> Iterator[None]:
        with sparsity_schedules.gradual(
            model, optimizer, sparsity=sparsity, steps=steps, criterion="magnitude", ranking="adaptive"
        ):
            yield

    spent = study.train(model, study.epochs, distill=True, seed=study.seed, held=held)
    return study.judge(model) | spent | {"sparsity": _zeros(model)}


def one_shot(study: Study, sparsity: float, *, distill: bool = False) -> Row:
    """Remove weights at once by global magnitude, then train."""
    model = copy.deepcopy(study.dense)
    kept = masks.unstructured({name: it.abs() for name, it in masks.weights_of(model).items()}, sparsity)
    spent = study.train(
        model,
        study.epochs,
        distill=distill,
        seed=study.seed,
        held=lambda optimizer, steps: masks.held(model, optimizer, kept),
    )
    return study.judge(model) | spent | {"sparsity": _zeros(model)}


def one_shot_distilled(study: Study, sparsity: float) -> Row:
    """Remove weights at once, then train with distillation."""
    return one_shot(study, sparsity, distill=True)


def plain_iterative(study: Study, sparsity: float) -> Row:
    """Prune in rounds by global L1 with torch.nn.utils.prune, as its tutorial does."""
    model = copy.deepcopy(study.dense)
    chosen = [
        (module, name)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 1
    ]
    amount = 1 - (1 - sparsity) ** (1 / PLAIN_ROUNDS)
    total = {"steps": 0.0, "cpu_seconds": 0.0}
    for number, epochs in enumerate(split(study.epochs, PLAIN_ROUNDS), 1):
        torch_prune.global_unstructured(chosen, pruning_method=torch_prune.L1Unstructured, amount=amount)
        spent = study.train(model, epochs, distill=False, seed=study.seed + 100 * number)
        total = {name: total[name] + spent[name] for name in total}
    for module, name in chosen:
        torch_prune.remove(module, name)
    return study.judge(model) | total | {"sparsity": _zeros(model)}


def _zeros(model: nn.Module) -> float:
    weights = masks.weights_of(model).values()
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


# --- channels: every method cuts to the widths of one plan for the speed-up -----------------------------------------


def rounds_distilled(study: Study, speed_up: float) -> Row:
    """Prune in adaptive rounds with distillation, then train (ours)."""
    widths, each = study.plan(int(speed_up)).widths, min(ROUND_EPOCHS[study.name], max(study.epochs // 4, 1))
    total = {"steps": 0.0, "cpu_seconds": 0.0}
    used = 0

    def recover(model: nn.Module, number: int, again: bool, epochs: int) -> None:
        nonlocal used
        spent = study.train(model, epochs, distill=True, seed=study.seed + 100 * number + 1000 * again)
        used += epochs
        total.update({name: total[name] + spent[name] for name in total})

    def judge(model: nn.Module) -> Judgement:
        loss = losses(model, study.data.batches("validation"), study.task).mean()
        return Judgement(float(loss), scores(model, study.data.batches("validation"), study.task))

    example = study.data.example()
    planned = macs_of(study.subject.narrowed(widths), example)
    cost = Cost(0, study.workload.train.epochs, taught=True)  # counts epochs at any width: steps are compared
    parts = Parts(
        example_inputs=example,
        criterion=study.workload.prune.criterion,
        saliency_batches=study.subject.training_batches,
        loss=lambda outputs, targets: study.task.loss(outputs, targets).mean(),
        recover=recover,
        judge=judge,
        measure=lambda model: Measured(1.0, 0, macs_of(model, example) / planned),  # 1 at the planned widths only
        clock=time.perf_counter,
    )
    most = cost.of(0, study.epochs / 2)
    limits = Limits(epochs=each, drop=1.0, cost=cost, most=most)  # no score floor: all methods reach the same widths
    loop = Loop(parts, limits, Following())
    outcome = loop.run(study.dense, judge(study.dense), widths, progress=Progress())
    model = outcome.model
    spent = study.train(model, study.epochs - used, distill=True, seed=study.seed)
    total = {name: total[name] + spent[name] for name in total}
    reached = {"rounds": len(outcome.rounds), "progress": outcome.chosen.progress}
    return study.judge(model) | total | reached | _speed(study, model)


def channels_one_shot(study: Study, speed_up: float, *, distill: bool = False) -> Row:
    """Remove channels at once by the workload's importance, then train."""
    model = study.subject.narrowed(study.plan(int(speed_up)).widths)
    reestimate(model, (inputs for inputs, _ in study.subject.training_batches))
    spent = study.train(model, study.epochs, distill=distill, seed=study.seed)
    return study.judge(model) | spent | _speed(study, model)


def channels_one_shot_distilled(study: Study, speed_up: float) -> Row:
    """Remove channels at once, then train with distillation."""
    return channels_one_shot(study, speed_up, distill=True)


def channels_plain_iterative(study: Study, speed_up: float) -> Row:
    """Remove channels by weight norm in equal rounds, without a teacher."""
    model, widths = copy.deepcopy(study.dense), study.plan(int(speed_up)).widths
    total = {"steps": 0.0, "cpu_seconds": 0.0}
    whole = study.subject.analysis
    for number, epochs in enumerate(split(study.epochs, PLAIN_ROUNDS), 1):
        analysis = analyze(model, study.data.example())
        goal = widths_at(number / PLAIN_ROUNDS, whole, widths)
        keep = best_cells(score(model, analysis, "l2"), goal, analysis)
        model = cut(model, analysis, keep)[0] if keep else model
        spent = study.train(model, epochs, distill=False, seed=study.seed + 100 * number)
        total = {name: total[name] + spent[name] for name in total}
    return study.judge(model) | total | _speed(study, model)


def _speed(study: Study, model: nn.Module) -> Row:
    return {"speed_up": 1 / max(study.subject.watch.ratios(model)), "macs": macs_of(model, study.data.example())}


WEIGHTS = {
    "iterative + distillation": gradual_distilled,
    "one-shot": one_shot,
    "one-shot + distillation": one_shot_distilled,
    "plain iterative": plain_iterative,
}
CHANNELS = {
    "iterative + distillation": rounds_distilled,
    "one-shot": channels_one_shot,
    "one-shot + distillation": channels_one_shot_distilled,
    "plain iterative": channels_plain_iterative,
}

if __name__ == "__main__":
    main()
