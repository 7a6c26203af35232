"""Export the dense model and the candidate to ONNX, compare each with torch, and quantize where that is asked."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from torch import nn

from reprune import hashing
from reprune.config.target import Target
from reprune.data.model_io import feed
from reprune.inference.onnx.export import export
from reprune.inference.onnx.parity import compare
from reprune.pruning import bundle
from reprune.report import pages
from reprune.steps import quantization
from reprune.steps.benchmark import inputs_file
from reprune.steps.context import Step
from reprune.steps.quantization import Quantization

COMPARED = 512
"""Examples of the validation split that torch and ONNX Runtime are compared on."""


def run(step: Step, *, dense: Path, candidate: Path, exported: Path, report: Path) -> None:
    """Write ``dense.onnx``, ``candidate.onnx``, ``quantized.onnx`` where asked, and ``export.json`` about them.

    What `benchmark` feeds the models lies beside them, a file for each batch size, so that the machine that serves
    them needs neither torch nor the data.
    """
    exported.mkdir(parents=True, exist_ok=True)
    described = {}
    for place, (name, folder) in enumerate((("dense", dense), ("candidate", candidate))):
        step.progress(f"exporting {name}", place / 2)
        described[name] = _export(step, step.load(folder), exported / f"{name}.onnx") | {
            "bundle_sha256": hashing.of_file(folder / bundle.DESCRIPTION)
        }
    for size in {target.batch_size for target in step.workload.target}:
        arrays = feed(step.data.example(batch_size=size, split="test"))
        save_file({name: np.ascontiguousarray(it) for name, it in arrays.items()}, inputs_file(exported, size))
    quantization = _quantized(step, candidate, exported / "candidate.onnx")
    if quantization and quantization.status != "made":
        step.warn(quantization.statement)
    record = {"models": described, "quantization": quantization.model_dump(mode="json") if quantization else None}
    (exported / "export.json").write_text(json.dumps(record, indent=2))
    report.write_text(pages.export(described, quantization.hop if quantization else {}))
    step.record = record
    errors = ", ".join(f"{name} {row['parity']['max_abs_error']:.1e}" for name, row in described.items())
    step.summary = f"largest difference between torch and ONNX Runtime: {errors}"
    if quantization:
        step.summary += f"; {quantization.statement}"


def _quantized(step: Step, candidate: Path, path: Path) -> Quantization | None:
    """Quantize the candidate, from weights that were fine-tuned for it where there are such."""
    if not step.workload.quantize or bundle.QUANTIZED not in bundle.Description.read(candidate).files:
        return quantization.quantize(step, path)
    with TemporaryDirectory() as scratch:
        source = Path(scratch) / path.name
        export(step.load(candidate, quantized=True), step.data.example(), source)
        return quantization.quantize(step, path, source)


def _export(step: Step, model: nn.Module, path: Path) -> dict[str, Any]:
    written = export(model, step.data.example(), path)
    inputs = (batch for batch, _ in step.data.batches("validation", limit=COMPARED))
    parity = compare(model, path, inputs, Target())
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "size_bytes": written.size_bytes,
        "sha256": written.sha256,
        "parity": parity.model_dump(),
    }
