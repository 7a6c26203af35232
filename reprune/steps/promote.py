"""Publish a candidate as a version, and make it the champion unless somebody is to approve it first."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from reprune import hashing, strict_json
from reprune.drift.dataset import freeze_reference
from reprune.errors import IntegrityError, StoreError
from reprune.gate import serving_probe
from reprune.gate.approval import COMPARED_WITH, REQUESTS, TARGETS, VERDICT, approve
from reprune.gate.predictions import CANDIDATE, feed_for
from reprune.gate.verdict import Verdict
from reprune.inference.champion import ONNX
from reprune.inference.session import open_session
from reprune.pruning import bundle
from reprune.registry.retention import retire
from reprune.steps.benchmark import QUANTIZED
from reprune.steps.context import Step
from reprune.storage import checkpoints

REQUESTED = 8
"""Requests that are recorded with each version."""


def run(step: Step, *, candidate: Path, exported: Path, verdict: Path, report: Path) -> str:
    """Publish the candidate, move the champion pointer to it unless approval is manual, and return its version.

    Raises:
        IntegrityError: Verdict or candidate are not those of the gate, or the registry's copy does not answer.
        ConflictError: Somebody else promoted since the gate looked.
    """
    gate = step.records()["gate"]
    judged, served = _verdict_on(candidate, exported, verdict, gate["verdict_sha256"])
    lineage = {
        **strict_json.encode(bundle.Description.read(candidate).lineage, "lineage"),
        "workload": step.workload.model_dump(mode="json", exclude_defaults=True),
        "run": step.run,
        "comparison": gate["comparison"],
        "verdict": judged.summary,
        COMPARED_WITH: gate["champion"],
        TARGETS: [target.model_dump() for target in step.workload.target],
    }
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "version"
        shutil.copytree(candidate, folder)
        shutil.copyfile(served, folder / ONNX)
        shutil.copyfile(verdict, folder / VERDICT)
        shutil.copyfile(report, folder / "report.html")
        _record_requests(step, folder)
        freeze_reference(step.workload, folder / ONNX).save(folder / "reference.safetensors")
        version = step.registry.publish(folder, lineage)
    waits = step.workload.promotion.approval == "manual"
    if not waits:
        approve(step.registry, version.id, by=f"run {step.run}")
        _retire(step)
    checkpoints.clear(step.store, step.workload.name)
    step.record = {"version": version.id, "waits": waits}
    name = step.workload.name
    step.summary = (
        f"{name} {version.short} waits: reprune approve {name} {version.short}"
        if waits
        else f"{name} {version.short} is champion"
    )
    return version.id


def _verdict_on(candidate: Path, exported: Path, verdict: Path, said: str) -> tuple[Verdict, Path]:
    """Return the verdict and the file that it is on, once it is certain that nothing was altered since."""
    remedy = "Run the pipeline again."
    if hashing.of_file(verdict) != said:
        raise IntegrityError("The verdict was altered after the gate had given it.", remedy)
    judged = Verdict.model_validate_json(verdict.read_text())
    files = (exported / "candidate.onnx", exported / QUANTIZED)
    served = [file for file in files if file.is_file() and hashing.of_file(file) == judged.candidate_sha256]
    if not served:
        raise IntegrityError("The candidate was altered after the gate had judged it.", remedy)
    if hashing.of_file(candidate / bundle.DESCRIPTION) != judged.bundle_sha256:
        raise IntegrityError("The candidate's bundle was altered after the gate had judged it.", remedy)
    bundle.verify(candidate, bundle.Description.read(candidate))
    return judged, served[0]


def _record_requests(step: Step, folder: Path) -> None:
    """Keep requests with the judged file's answers, for whoever serves a copy of it to repeat."""
    session = open_session(folder / ONNX, step.workload.target[0])
    inputs, _ = next(step.data.arrays("test", batch_size=REQUESTED))
    feed = feed_for(session, inputs, name=CANDIDATE)
    serving_probe.record(folder / REQUESTS, feed, session.run(None, feed))


def _retire(step: Step) -> None:
    try:
        retire(step.registry, step.workload.promotion.keep, by=f"run {step.run}")
    except StoreError as error:
        step.warn(f"old versions were not deleted: {error.message}")  # the promotion itself is made
