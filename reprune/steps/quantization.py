"""The candidate in fewer bits, judged on validation when it is exported; the benchmark then tells its worth."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from reprune import hashing
from reprune.config.target import Machine, machine
from reprune.data.model_io import Inputs
from reprune.errors import InputError
from reprune.inference.latency.profile_store import read_profile
from reprune.inference.onnx.mixed_precision import Allowed, Mixed, quantize_within
from reprune.inference.onnx.parity import Parity
from reprune.inference.onnx.quantize import Quantizer, needs_reduced_range
from reprune.pruning.iterative.pruner import first_batches
from reprune.steps.benchmark import QUANTIZED
from reprune.steps.context import Step
from reprune.training.rng import seed_everything

BATCH = 8
"""Examples that are calibrated with at once: histograms need all activations of a batch in memory."""

JUDGED = 1024
"""Examples of the validation split that the quantized file is compared with the float one on."""

WITHOUT_INT8 = {
    "CUDAExecutionProvider": "it runs convolutions in float, with conversions around them",
    "ROCMExecutionProvider": "it runs convolutions in float, with conversions around them",
    "CoreMLExecutionProvider": "it leaves quantized operators to the CPU",
    "WebGpuExecutionProvider": "it leaves quantized operators to the CPU",
}


class Quantization(BaseModel):
    """What became of quantizing a candidate.

    Attributes:
        format: What was asked for.
        status: Whether there is a file to serve; ``lossy`` is one that loses too much and is not served.
        statement: The same in words.
        calibration: How ranges were taken; empty for formats without.
        calibration_examples: Examples of the train split that they were taken from.
        reduced_range: Whether weights keep to 7 bits, for processors whose products saturate.
        size_bytes: Size of the file.
        sha256: Its digest.
        mixed: What it loses, and which operators stay in float.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    format: str
    status: Literal["made", "lossy", "impossible"]
    statement: str
    calibration: str = ""
    calibration_examples: int = 0
    reduced_range: bool = False
    size_bytes: int | None = None
    sha256: str | None = None
    mixed: Mixed | None = None

    @property
    def hop(self) -> dict[str, Parity]:
        """The differences between the float file and this one, by the name of the hop."""
        return {f"candidate: ONNX → {self.format}": self.mixed.loss.parity} if self.mixed else {}


def quantize(step: Step, candidate: Path, source: Path | None = None) -> Quantization | None:
    """Write the candidate's quantized file beside its float one, where the workload asks and it can be done.

    Args:
        step: The step that exports.
        candidate: The float ONNX file, which the quantized one is compared with.
        source: The float ONNX file to quantize, where that is another: of the same model, with weights that were
            fine-tuned for it.

    Returns:
        What became of it; None where the workload asks for float alone.
    """
    settings = step.workload.quantize
    if settings is None:
        return None
    unable = _unable(step)
    if unable:
        return Quantization(format=settings.format, status="impossible", statement=f"float is served: {unable}")
    try:
        return _quantize(step, candidate, source or candidate, candidate.with_name(QUANTIZED))
    except InputError as error:
        return Quantization(format=settings.format, status="impossible", statement=f"float is served: {error.message}")


def _quantize(step: Step, candidate: Path, source: Path, path: Path) -> Quantization:
    settings = step.workload.quantize
    assert settings is not None
    reduced = any(needs_reduced_range(it.instruction_sets) for it in _machines(step))
    step.progress(f"{settings.format}: preparing")
    quantizer = Quantizer(source, settings.format, reduced=reduced)
    step.progress(f"{settings.format}: ranges of activations")
    examples = quantizer.calibrate(_calibration(step, settings.examples), settings.calibration)
    found = quantize_within(
        quantizer,
        candidate,
        path,
        lambda limit: step.data.batches("validation", limit=min(limit or JUDGED, JUDGED)),
        step.task,
        _allowed(step),
        tell=lambda text: step.progress(f"{settings.format}: {text}"),
    )
    held = {"size_bytes": path.stat().st_size, "sha256": hashing.of_file(path)} if found.holds else {}
    if not found.holds:
        path.unlink()
    return Quantization.model_validate(
        {
            "format": settings.format,
            "status": "made" if found.holds else "lossy",
            "statement": _said(step, found),
            "calibration": settings.calibration if examples else "",
            "calibration_examples": examples,
            "reduced_range": reduced,
            "mixed": found,
            **held,
        }
    )


def _unable(step: Step) -> str:
    """Return why a target cannot gain from INT8, in words; empty where all might."""
    settings = step.workload.quantize
    if settings is None or settings.format.startswith("weights"):
        return ""
    for target in step.workload.target:
        if target.provider in WITHOUT_INT8:
            return f"{target.provider} has no kernels for {settings.format}: {WITHOUT_INT8[target.provider]}"
    return ""


def _machines(step: Step) -> list[Machine]:
    """Return the machines that the targets were profiled on; this one where none was."""
    keys = {record["profile"] for record in step.records().values() if "profile" in record}
    found = [read_profile(step.store, key).machine for key in sorted(keys)]
    return [it for it in found if it is not None] or [machine()]


def _calibration(step: Step, examples: int) -> list[Inputs]:
    """Return inputs of the train split, shuffled: its first examples may all be of one class.

    They are the same each time, also where the split distorts them at random.
    """
    seed_everything(step.workload.seed)
    batches = step.data.training_batches(batch_size=min(BATCH, examples), seed=step.workload.seed)
    return [inputs for inputs, _ in first_batches(batches, examples)]


def _allowed(step: Step) -> Allowed:
    """Return what the gate will allow the quantized file, so that the search ends where the gate agrees."""
    settings, policy = step.workload.quantize, step.workload.gate
    assert settings is not None
    if policy.parity == "off":
        return Allowed(drop=settings.accuracy_drop, agreement=0.0, error=float("inf"))
    return Allowed(
        drop=settings.accuracy_drop, agreement=policy.quantization_agreement, error=policy.quantization_error
    )


def _said(step: Step, found: Mixed) -> str:
    settings = step.workload.quantize
    assert settings is not None
    lost = f"{settings.format} loses {100 * found.loss.drop:.2g} points of {step.task.metric} on validation"
    agreement = found.loss.parity.argmax_agreement
    if agreement is not None:
        lost += f", {100 * agreement:.4g} % of predictions agree"
    if found.in_float:
        lost += f", with {len(found.in_float)} of {found.operators} operators in float"
    return lost if found.holds else f"float is served: {lost}; at most {settings.accuracy_drop:.2%} may be lost"
