"""Cut and recover in rounds until the measured latency is within the budget."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from reprune import bundle, digest
from reprune.hardware.latency_table import LatencyTable
from reprune.hardware.profiles import read_profile
from reprune.planning.plan import Plan
from reprune.planning.sensitivity import Sensitivity
from reprune.planning.subject import Subject
from reprune.pruning.iterative import Loop, Round
from reprune.report import planning_pages
from reprune.step import Step
from reprune.steps.learning import mean_loss, settings, training_batches, validation_score
from reprune.training.distillation import Distillation
from reprune.training.fit import fit

PLAN = "plan"
"""Name of the plan among the checkpoints."""


def run(step: Step, *, dense: Path, sensitivity: Path, profiles: list[str], pruned: Path, report: Path) -> None:
    """Write the pruned model as a bundle, with the plan and the rounds in the step's record."""
    parent, model = bundle.Description.read(dense), bundle.load(dense)
    curves = Sensitivity.model_validate_json(sensitivity.read_text())
    tables = [read_profile(step.store, key) for key in profiles]
    with TemporaryDirectory() as scratch:
        subject = Subject(model, step.workload, step.data, step.task, Path(scratch))
        checkpoints = step.checkpoints(_key(step, parent, profiles))
        found = checkpoints.load(PLAN)
        plan = Plan.model_validate(found[1]) if found else _plan(step, subject, curves, tables)
        checkpoints.save(PLAN, {}, plan.model_dump(mode="json"))  # measured anew, it would be another plan
        loop, rounds = _loop(step, subject), step.workload.prune.rounds
        smaller, recipe, done = loop.run(
            model, plan.widths, rounds, checkpoints=checkpoints, on_round=_tell(step, rounds)
        )
    bundle.save(smaller, pruned, factory=parent.model, recipe=recipe, **parent.lineage, parent=parent.files)
    widths = {name: (width, plan.widths[name]) for name, width in plan.dense_widths.items()}
    drawn: Any = [it.model_dump() for it in done]
    report.write_text(planning_pages.pruning_rounds(plan, drawn, step.task.metric))
    step.record = {
        "plan": plan.model_dump(mode="json"),
        "rounds": drawn,
        "widths": widths,
        "profiles": profiles,
    }
    last, budget = done[-1], step.workload.budget.latency.text
    step.summary = (
        f"{last.latency_ratio:.2f}x latency (budget {budget}), {last.parameters:,} parameters, "
        f"{last.score_after:.1%} on validation after {len(done)} rounds"
    )


def _key(step: Step, parent: bundle.Description, profiles: list[str]) -> str:
    """Return the digest of everything that decides the plan and the rounds."""
    workload = step.workload
    sections = (workload.prune, workload.finetune, workload.train, workload.budget)
    return digest.of_json([parent.files, profiles, workload.seed, *(section.model_dump() for section in sections)])


def _plan(step: Step, subject: Subject, curves: Sensitivity, tables: Sequence[LatencyTable]) -> Plan:
    step.progress("planning widths")
    return subject.plan(
        tables, curves, alternatives=0, progress=lambda done: step.progress("measuring the planned graph", done)
    )


def _loop(step: Step, subject: Subject) -> Loop:
    workload = step.workload
    rate = workload.finetune.learning_rate or workload.train.learning_rate / 3

    def recover(model: nn.Module, number: int) -> None:
        epochs = workload.prune.epochs
        fit(
            model,
            training_batches(step),
            Distillation(
                step.task,
                subject.model,
                weight=workload.finetune.distillation,
                temperature=workload.finetune.temperature,
            ),
            settings(step, epochs=epochs, learning_rate=rate, seed=workload.seed + 100 + number),
            validate=lambda trained: validation_score(step, trained),
            on_epoch=lambda epoch: step.progress(
                f"round {number} of {workload.prune.rounds} · recovering, epoch {epoch.epoch} of {epochs}",
                (number - 1 + epoch.epoch / (epochs + 1)) / workload.prune.rounds,
            ),
        )

    return Loop(
        example_inputs=step.data.example(),
        criterion=workload.prune.criterion,
        saliency_batches=subject.training_batches,
        loss=mean_loss(step.task),
        recover=recover,
        validate=lambda model: validation_score(step, model),
        measure=lambda model: max(subject.watch.ratios(model)),
        clock=time.perf_counter,
    )


def _tell(step: Step, rounds: int) -> Callable[[Round], None]:
    def tell(it: Round) -> None:
        scores = f"{it.score_before:.1%} → {it.score_after:.1%}"
        step.progress(f"round {it.round} of {rounds} · {it.latency_ratio:.2f}x latency · {scores}", it.round / rounds)

    return tell
