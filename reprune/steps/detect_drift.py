"""Decide whether the loop has anything to do."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reprune.data import signals
from reprune.drift.dataset import DatasetExamples
from reprune.drift.decision import Decision, Trigger, decide
from reprune.drift.features import Examples
from reprune.drift.monitor import prediction_log
from reprune.inference.champion import ONNX
from reprune.report import drift_page
from reprune.steps.context import Step

REFERENCE = "reference.safetensors"


def run(step: Step, *, trigger: Trigger, report: Path) -> str:
    """Return ``reprune`` or ``skip``, with the reason in the step's summary and what moved in its record."""
    with TemporaryDirectory() as scratch:
        step.progress("fetching the champion's reference")
        champion = step.registry.fetch_champion(Path(scratch), only=[ONNX, REFERENCE])
        version = Path(scratch) if champion else None
        production = step.data.production()
        window: Examples | None = None if production is None else DatasetExamples(production)
        if version and window is None and trigger == "schedule":
            window = prediction_log.latest(step.store, step.workload.name, version / ONNX)
        decision = decide(
            champion.version if champion else None,
            version,
            window,
            signals.find(step.workload.task),
            step.workload.drift,
            trigger=trigger,
            seed=step.workload.seed,
        )
    report.write_text(drift_page.render(decision))
    step.record = _record(decision) | {"champion": champion.version if champion else None}
    step.summary = f"{decision.action}: {decision.reason}" if decision.action == "reprune" else decision.reason
    return decision.action


def _record(decision: Decision) -> dict[str, Any]:
    tests = decision.report.tests if decision.report else ()
    return {
        "action": decision.action,
        "cause": decision.cause,
        "reason": decision.reason,
        "tests": [test.model_dump(mode="json") for test in tests],
    }
