"""Measure, on the target, how long each prunable operator takes over the widths it could have."""

from pathlib import Path

from reprune.config.target import Target
from reprune.inference.latency import profile_store
from reprune.pruning.graph.analyze import analyze
from reprune.report import hardware_pages
from reprune.steps.context import Step


def run(step: Step, *, dense: Path, target: str, report: Path) -> str:
    """Return the key in the store of the table; what is known of this machine already is used again."""
    where = Target.model_validate_json(target).check()
    step.part = where.slug()
    analysis = analyze(step.load(dense), step.data.example(batch_size=where.batch_size))
    found = profile_store.complete(
        step.store,
        analysis.operators,
        where,
        progress=lambda done: step.progress(f"measuring on {where.label()}", done),
    )
    report.write_text(hardware_pages.profile([found]))
    known, new = sum(found.reused.values()), sum(found.measured.values())
    step.record = {
        "profile": found.key,
        "target": where.label(),
        "operators": found.shapes,
        "points": known + new,
        "measured": new,
    }
    step.summary = f"{known + new:,} latencies, {new:,} of them new; {where.label()}"
    return found.key
