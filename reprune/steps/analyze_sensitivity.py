"""Measure how much the loss rises as each group of channels narrows."""

from pathlib import Path

from reprune import formatting
from reprune.planning.planning_context import Subject
from reprune.planning.sensitivity.curve_cache import Memory
from reprune.report import pages
from reprune.report.html import Note, Section, page
from reprune.steps.context import Step
from reprune.steps.warm_start import Former, former_cut


def run(step: Step, *, dense: Path, sensitivity: Path, report: Path) -> None:
    """Write a curve with error bars for each group, or null where the champion's recipe is to be replayed first."""
    model = step.load(dense)
    former = former_cut(step, model)
    if isinstance(former, Former):
        reason = f"not needed yet: the recipe of the champion {former.version} is tried first"
        sensitivity.write_text("null")
        report.write_text(page("Sensitivity", "Not analyzed", [Section("Not analyzed", [Note(reason.capitalize())])]))
        step.record = {"sensitivity": None}
        step.summary = reason
        return
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
    step.summary = f"{formatting.count(len(analysis.groups), 'group')} of channels{again}{left}"
