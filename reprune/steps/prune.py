"""Cut and recover in rounds until the measured budget holds; where the champion's cut still serves, once is enough."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from reprune import formatting, hashing
from reprune.inference.latency.profile_store import read_profile
from reprune.planning.planning_context import Subject
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning import bundle
from reprune.pruning.iterative.pruner import Outcome
from reprune.pruning.shortfall import shortfall
from reprune.report import planning_pages
from reprune.steps import recovery
from reprune.steps.context import Step
from reprune.steps.warm_start import Former, FormerModel, WarmStart, former_cut, former_model, note_replay
from reprune.steps.workload_pruner import Pruner


def run(step: Step, *, dense: Path, sensitivity: Path, profiles: list[str], pruned: Path, report: Path) -> None:
    """Write the pruned model as a bundle, with the plan and the rounds in the step's record."""
    parent, model = bundle.Description.read(dense), step.load(dense)
    curves = TypeAdapter(Sensitivity | None).validate_json(sensitivity.read_text())
    former = former_cut(step, model)
    begin = former_model(step, former, model, parent.lineage) if isinstance(former, Former) else former
    with TemporaryDirectory() as scratch:
        subject = Subject(model, step.workload, step.data, step.task, Path(scratch))
        pruner = Pruner(step, subject, step.checkpoints(_key(step, parent, profiles, former, begin)))
        warm, plan = WarmStart(reason=str(former)), None
        outcome = None
        if isinstance(former, Former):
            warm, outcome = pruner.replay(former, begin)
        if outcome is None:
            step.tell(f"{warm.reason}: searching" if isinstance(former, Former) else f"searching: {warm.reason}")
            plan, outcome = pruner.search([read_profile(step.store, key) for key in profiles], curves, warm.cost)
        dense_widths = {group.name: group.width for group in subject.analysis.groups}
    if warm.accepted:
        note_replay(step)
    cost = warm.cost if warm.accepted else warm.cost + outcome.rounds[-1].cost_so_far
    lineage = parent.lineage | {
        "parent": parent.files,
        "cost": dict(parent.lineage.get("cost") or {}) | {"prune": cost},
        "replayed": warm.version if warm.accepted else None,
        "replayed_weights": warm.weights if warm.accepted else None,
    }
    example = step.data.example()
    bundle.save(outcome.model, pruned, factory=step.workload.model, recipe=outcome.recipe, inputs=example, **lineage)
    step.record = {
        "sensitivity": pruner.analyzed.model_dump(mode="json") if pruner.analyzed else None,
        "plan": plan.model_dump(mode="json") if plan else None,
        "rounds": [it.model_dump() for it in outcome.rounds],
        "chosen": outcome.chosen.round,
        "reason": outcome.reason,
        "warm_start": warm.model_dump(),
        "cost": cost,
        "widths": {name: (width, outcome.chosen.widths.get(name, width)) for name, width in dense_widths.items()},
        "profiles": profiles,
    }
    report.write_text(planning_pages.pruning_rounds(plan, outcome, warm, step.task.metric, step.workload))
    if not (outcome.chosen.holds and outcome.chosen.recovered):
        step.warn(outcome.reason)
    if plan and not outcome.chosen.holds:
        short = shortfall(subject.analysis, plan.widths, outcome.chosen.widths)
        if short:
            step.warn(short)
    step.summary = _summary(step, outcome, warm, cost)


def _key(
    step: Step, parent: bundle.Description, profiles: list[str], former: Former | str, begin: FormerModel | str
) -> str:
    """Return the digest of everything that decides the plan and the rounds."""
    workload = step.workload
    sections = (workload.prune, workload.finetune, workload.budget)
    replayed = former.version if isinstance(former, Former) else None
    weights = begin.weights if isinstance(begin, FormerModel) else None
    aware = recovery.aware_epochs(workload, workload.finetune.epochs)
    decide = [parent.files, profiles, workload.seed, workload.warm_start, replayed, weights, aware]
    decide.append(workload.train.decisive())
    return hashing.of_json([*decide, *(section.model_dump() for section in sections)])


def _summary(step: Step, outcome: Outcome, warm: WarmStart, cost: float) -> str:
    chosen, budget = outcome.chosen, step.workload.budget.latency.text
    how = f"after {len(outcome.rounds)} round{'' if len(outcome.rounds) == 1 else 's'}"
    spent = f"{cost:.2f} of a dense training"
    if warm.accepted:
        how = f"by the recipe{' and from the weights' if warm.weights else ''} of the champion {warm.version}"
        how += ", without a search"
        if "prune" in warm.former_cost:
            spent += f" ({warm.former_cost['prune']:.2f} then)"
    return (
        f"{chosen.latency_ratio:.2f}x latency (budget {budget}), {chosen.parameters:,} parameters, "
        f"{formatting.score(chosen.score_after)} on validation {how}; {spent}"
    )
