"""Measure how much the loss rises as each group of channels narrows."""

from pathlib import Path

from reprune import bundle
from reprune.planning.sensitivity.memory import Memory
from reprune.planning.subject import Subject
from reprune.report import pages
from reprune.step import Step


def run(step: Step, *, dense: Path, sensitivity: Path, report: Path) -> None:
    """Write a curve with error bars for each group."""
    model = bundle.load(dense)
    subject = Subject(model, step.workload, step.data, step.task, report.parent)
    analysis = subject.analysis
    curves = subject.sensitivity(
        Memory(step.store, step.workload.name), lambda done: step.progress(f"{len(analysis.groups)} groups", done)
    )
    frozen = [f"{item.what}: {item.reason}" for item in analysis.frozen]
    sensitivity.write_text(curves.model_dump_json())
    report.write_text(pages.sensitivity(curves, frozen))
    step.record = {"sensitivity": curves.model_dump(mode="json"), "frozen": frozen}
    again = f", {len(curves.reused)} known from before" if curves.reused else ""
    left = f", {len(analysis.frozen)} left dense" if analysis.frozen else ""
    step.summary = f"{len(analysis.groups)} groups of channels{again}{left}"
