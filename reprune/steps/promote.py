"""Publish a candidate as a version and make it the champion."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from reprune import bundle, digest
from reprune.champion import ONNX
from reprune.drift.reference import freeze_reference
from reprune.errors import IntegrityError
from reprune.gate.verdict import Verdict
from reprune.registry import Champion
from reprune.step import Step
from reprune.training import checkpoint


def run(step: Step, *, candidate: Path, exported: Path, verdict: Path, report: Path) -> str:
    """Move the champion pointer to the candidate and return its version.

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
    }
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "version"
        shutil.copytree(candidate, folder)
        shutil.copyfile(exported / "candidate.onnx", folder / ONNX)
        shutil.copyfile(verdict, folder / "verdict.json")
        shutil.copyfile(report, folder / "report.html")
        freeze_reference(step.workload, folder / ONNX).save(folder / "reference.safetensors")
        version = step.registry.publish(folder, lineage)
    expected = Champion.model_validate(gate["champion"]) if gate["champion"] else None
    step.registry.promote(version.id, reason=judged.summary, expected=expected, by=f"run {step.run}")
    checkpoint.clear(step.store, step.workload.name)
    step.record = {"version": version.id}
    step.summary = f"{step.workload.name} {version.short} is champion"
    return version.id
