"""Check that the workload's model and data belong together, and that the data is fit to learn from."""

from pathlib import Path

from reprune.data.validation.validate import validate
from reprune.steps.context import Step


def run(step: Step, *, validation: Path, report: Path) -> None:
    """Write what was found and the page of it.

    Raises:
        InputError: Model and data cannot work together, or a critical expectation failed.
    """
    step.progress("reading the splits")
    found = validate(step.workload)
    validation.write_text(found.model_dump_json(indent=2))
    report.write_text(found.html)
    found.require()
    step.record = found.model_dump(mode="json")
    step.summary = found.summary
    for warning in found.warnings:
        step.warn(warning)
