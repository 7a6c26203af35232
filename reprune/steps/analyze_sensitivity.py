"""Measure how much the loss rises as each group of channels narrows."""

from pathlib import Path

from reprune import bundle
from reprune.planning.sensitivity import analyze_sensitivity
from reprune.planning.sensitivity.memory import Memory
from reprune.pruning import analyze, score
from reprune.report import pages
from reprune.step import Step
from reprune.steps.learning import mean_loss


def run(step: Step, *, dense: Path, sensitivity: Path, report: Path) -> None:
    """Write a curve with error bars for each group."""
    model = bundle.load(dense)
    analysis = analyze(model, step.data.example())
    examples = list(step.data.batches("validation"))
    curves = analyze_sensitivity(
        model,
        analysis,
        examples,
        step.task.loss,
        criterion=step.workload.prune.criterion,
        saliency=score(model, analysis, step.workload.prune.criterion, examples, mean_loss(step.task)),
        examples=step.workload.prune.examples,
        seed=step.workload.seed,
        memory=Memory(step.store, step.workload.name),
        progress=lambda done: step.progress(f"{len(analysis.groups)} groups", done),
    )
    frozen = [f"{item.what}: {item.reason}" for item in analysis.frozen]
    sensitivity.write_text(curves.model_dump_json())
    report.write_text(pages.sensitivity(curves, frozen))
    step.record = {"sensitivity": curves.model_dump(mode="json"), "frozen": frozen}
    again = f", {len(curves.reused)} known from before" if curves.reused else ""
    left = f", {len(analysis.frozen)} left dense" if analysis.frozen else ""
    step.summary = f"{len(analysis.groups)} groups of channels{again}{left}"
