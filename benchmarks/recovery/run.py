"""Compare ways to prune and recover in the same number of training steps.

    python -m benchmarks.recovery.run WORKLOAD [--seeds 1..5] [--levels 0.9,4x] [--epochs N]

WORKLOAD is digits or stdlib-text. Each cell (seed, level, method) is one line of results.jsonl beside this file; cells
that are there already are passed over, so that a run may be cut short and taken up again. Levels are shares of weights
removed (0.5, 0.8, 0.9, 0.95), or measured speed-ups (2x, 4x, 8x) by cut channels. With another temperature, the ways
that have a teacher are run again, for temperature.jsonl.
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
from reprune.pruning import analyze, cut, masks, reestimate, schedules, score
from reprune.pruning.cost import Cost, macs_of
from reprune.pruning.iterative import Limits, Loop, Parts, best_cells, widths_at
from reprune.pruning.pace import Following
from reprune.pruning.progress import Progress
from reprune.pruning.rounds import Judgement, Measured
from reprune.training.evaluate import losses, scores

RESULTS = Path(__file__).with_name("results.jsonl")
OTHER_TEMPERATURE = Path(__file__).with_name("temperature.jsonl")
LEVELS = ("0.5", "0.8", "0.9", "0.95", "2x", "4x", "8x")
EPOCHS = {"digits": 40, "stdlib-text": 4}
"""Of recovery: those that the shipped workload fine-tunes for."""

PLAIN_ROUNDS = 4
"""Rounds of the plain recipe: prune a share of what is left, train, and again."""

ROUND_EPOCHS = {"digits": 2, "stdlib-text": 1}

Row = dict[str, Any]


def main() -> None:
    """Run every cell that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=sorted(EPOCHS))
    parser.add_argument("--seeds", default="1..5")
    parser.add_argument("--levels", default=",".join(LEVELS))
    parser.add_argument("--epochs", type=int, help="fewer, to try the script; kept apart from the results")
    parser.add_argument("--temperature", type=float, help="of the teacher, in place of the workload's")
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
                row |= {"dense": study.judge(study.dense)} | _tried(run, study, level)
                row["seconds"] = time.perf_counter() - started
                found.add(**row)
                shown = f"{row['dense']['score']:.4f} → {row['score']:.4f}" if "score" in row else row["impossible"]
                print(f"{given.workload} seed {seed}, {level}, {method}: {shown}", flush=True)


def _key(row: Row) -> tuple[Any, ...]:
    return row["workload"], row["seed"], row["level"], row["method"], row.get("temperature")


def _tried(run: Callable[[Study, float], Row], study: Study, level: str) -> Row:
    try:
        return run(study, float(level.removesuffix("x")))
    except InputError as error:
        return {"impossible": error.message}


# --- single weights -----------------------------------------------------------------------------------------------


def gradual_distilled(study: Study, sparsity: float) -> Row:
    """Ours: masks that grow by the cubic schedule, by adaptive magnitude, while the dense model teaches."""
    model = copy.deepcopy(study.dense)

    @contextmanager
    def held(optimizer: torch.optim.Optimizer, steps: int) -> Iterator[None]:
        with schedules.gradual(
            model, optimizer, sparsity=sparsity, steps=steps, criterion="magnitude", ranking="adaptive"
        ):
            yield

    spent = study.train(model, study.epochs, taught=True, seed=study.seed, held=held)
    return study.judge(model) | spent | {"sparsity": _zeros(model)}


def one_shot(study: Study, sparsity: float, *, taught: bool = False) -> Row:
    """All at once by global magnitude, then the whole training on what is left."""
    model = copy.deepcopy(study.dense)
    kept = masks.unstructured({name: it.abs() for name, it in masks.weights_of(model).items()}, sparsity)
    spent = study.train(
        model,
        study.epochs,
        taught=taught,
        seed=study.seed,
        held=lambda optimizer, steps: masks.held(model, optimizer, kept),
    )
    return study.judge(model) | spent | {"sparsity": _zeros(model)}


def one_shot_distilled(study: Study, sparsity: float) -> Row:
    """The same, taught by the dense model: what is due to the teacher alone."""
    return one_shot(study, sparsity, taught=True)


def plain_iterative(study: Study, sparsity: float) -> Row:
    """The recipe of torch's own tutorial: global L1 masks by torch.nn.utils.prune, a share of the rest each round."""
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
        spent = study.train(model, epochs, taught=False, seed=study.seed + 100 * number)
        total = {name: total[name] + spent[name] for name in total}
    for module, name in chosen:
        torch_prune.remove(module, name)
    return study.judge(model) | total | {"sparsity": _zeros(model)}


def _zeros(model: nn.Module) -> float:
    weights = masks.weights_of(model).values()
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


# --- channels, to a measured speed-up: every method cuts to the widths of the same plan ------------------------------


def rounds_distilled(study: Study, speed_up: float) -> Row:
    """Ours: rounds that follow recovery, the rest of the epochs at the end, taught by the dense model throughout."""
    widths, each = study.plan(int(speed_up)).widths, min(ROUND_EPOCHS[study.name], max(study.epochs // 4, 1))
    total = {"steps": 0.0, "cpu_seconds": 0.0}
    used = 0

    def recover(model: nn.Module, number: int, again: bool, epochs: int) -> None:
        nonlocal used
        spent = study.train(model, epochs, taught=True, seed=study.seed + 100 * number + 1000 * again)
        used += epochs
        total.update({name: total[name] + spent[name] for name in total})

    def judge(model: nn.Module) -> Judgement:
        loss = losses(model, study.data.batches("validation"), study.task).mean()
        return Judgement(float(loss), scores(model, study.data.batches("validation"), study.task))

    example = study.data.example()
    planned = macs_of(study.subject.narrowed(widths), example)
    cost = Cost(0, study.workload.train.epochs, taught=True)  # counts epochs, whatever the width: steps are compared
    parts = Parts(
        example_inputs=example,
        criterion=study.workload.prune.criterion,
        saliency_batches=study.subject.training_batches,
        loss=lambda outputs, targets: study.task.loss(outputs, targets).mean(),
        recover=recover,
        judge=judge,
        measure=lambda model: Measured(1.0, 0, macs_of(model, example) / planned),  # holds at the planned widths alone
        clock=time.perf_counter,
    )
    most = cost.of(0, study.epochs / 2)
    limits = Limits(epochs=each, drop=1.0, cost=cost, most=most)  # no floor: all ways are cut to the same widths
    loop = Loop(parts, limits, Following())
    outcome = loop.run(study.dense, judge(study.dense), widths, progress=Progress())
    model = outcome.model
    spent = study.train(model, study.epochs - used, taught=True, seed=study.seed)
    total = {name: total[name] + spent[name] for name in total}
    reached = {"rounds": len(outcome.rounds), "progress": outcome.chosen.progress}
    return study.judge(model) | total | reached | _speed(study, model)


def channels_one_shot(study: Study, speed_up: float, *, taught: bool = False) -> Row:
    """All at once by the workload's saliency, then the whole training on what is left."""
    model = study.subject.narrowed(study.plan(int(speed_up)).widths)
    reestimate(model, (inputs for inputs, _ in study.subject.training_batches))
    spent = study.train(model, study.epochs, taught=taught, seed=study.seed)
    return study.judge(model) | spent | _speed(study, model)


def channels_one_shot_distilled(study: Study, speed_up: float) -> Row:
    """The same, taught by the dense model."""
    return channels_one_shot(study, speed_up, taught=True)


def channels_plain_iterative(study: Study, speed_up: float) -> Row:
    """The plain recipe for channels: by the norm of their weights, as many in each round, without a teacher."""
    model, widths = copy.deepcopy(study.dense), study.plan(int(speed_up)).widths
    total = {"steps": 0.0, "cpu_seconds": 0.0}
    whole = study.subject.analysis
    for number, epochs in enumerate(split(study.epochs, PLAIN_ROUNDS), 1):
        analysis = analyze(model, study.data.example())
        goal = widths_at(number / PLAIN_ROUNDS, whole, widths)
        keep = best_cells(score(model, analysis, "l2"), goal, analysis)
        model = cut(model, analysis, keep)[0] if keep else model
        spent = study.train(model, epochs, taught=False, seed=study.seed + 100 * number)
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
