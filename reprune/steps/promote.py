"""Publish a candidate as a version, and make it the champion unless somebody is to approve it first."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from reprune import bundle, digest
from reprune.approval import COMPARED_WITH, VERDICT, approve
from reprune.champion import ONNX
from reprune.drift.reference import freeze_reference
from reprune.errors import IntegrityError, StoreError
from reprune.gate.verdict import Verdict
from reprune.registry import retire
from reprune.step import Step
from reprune.training import checkpoint


def run(step: Step, *, candidate: Path, exported: Path, verdict: Path, report: Path) -> str:
    """Publish the candidate, move the champion pointer to it unless approval is manual, and return its version.

    Raises:
        IntegrityError: The candidate is not the one that the gate judged.
        ConflictError: Somebody else promoted since the gate looked.
    """
    judged = Verdict.model_validate_json(verdict.read_text())
    if digest.of_file(exported / "candidate.onnx") != judged.candidate_sha256:
        raise IntegrityError("The candidate was altered after the gate had judged it.", "Run the pipeline again.")
    gate = step.records()["gate"]
    lineage = {
        **bundle.Description.read(candidate).lineage,
        "workload": step.workload.model_dump(mode="json", exclude_defaults=True),
        "run": step.run,
        "comparison": gate["comparison"],
        "verdict": judged.summary,
        COMPARED_WITH: gate["champion"],
    }
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "version"
        shutil.copytree(candidate, folder)
        shutil.copyfile(exported / "candidate.onnx", folder / ONNX)
        shutil.copyfile(verdict, folder / VERDICT)
        shutil.copyfile(report, folder / "report.html")
        freeze_reference(step.workload, folder / ONNX).save(folder / "reference.safetensors")
        version = step.registry.publish(folder, lineage)
    waits = step.workload.promotion.approval == "manual"
    if not waits:
        approve(step.registry, version.id, by=f"run {step.run}")
        _retire(step)
    checkpoint.clear(step.store, step.workload.name)
    step.record = {"version": version.id, "waits": waits}
    name = step.workload.name
    step.summary = (
        f"{name} {version.short} waits: reprune approve {name} {version.short}"
        if waits
        else f"{name} {version.short} is champion"
    )
    return version.id


def _retire(step: Step) -> None:
    try:
        retire(step.registry, step.workload.promotion.keep)
    except StoreError as error:
        step.warn(f"old versions were not deleted: {error.message}")  # the promotion itself is made
