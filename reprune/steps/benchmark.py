"""Time the candidate, in float and quantized, against the dense model on one target, in turns and in one process."""

from pathlib import Path

from safetensors.numpy import load_file

from reprune.config.target import Target
from reprune.config.workload import Workload
from reprune.inference.latency.benchmark import compare
from reprune.report import hardware_pages
from reprune.steps.context import Step

SECONDS = 8.0
"""Time for the interleaved rounds of one target."""

QUANTIZED = "quantized.onnx"
"""The candidate in fewer bits, beside the float files, where the workload asks and it could be made."""


def inputs_file(exported: Path, batch_size: int) -> Path:
    """Return the file beside exported models with a batch of their inputs: arrays by the names of the graph."""
    return exported / f"inputs-{batch_size}.safetensors"


def run(step: Step, *, exported: Path, target: str, report: Path) -> str:
    """Return the key in the store of what was measured."""
    where = Target.model_validate_json(target).check()
    step.part = where.slug()
    samples = exported.parent / "samples.npz"
    files = _files(exported, step.workload)
    measured = compare(
        files,
        load_file(inputs_file(exported, where.batch_size)),
        where,
        seconds=SECONDS,
        seed=step.workload.seed,
        samples=samples,
        progress=lambda done: step.progress(where.label(), done),
    )
    step.put_evidence(f"samples-{where.slug()}.npz", samples.read_bytes())
    key = step.put_evidence(f"timings-{where.slug()}.json", measured.model_dump_json().encode())
    report.write_text(hardware_pages.benchmark(measured, samples))
    faster = measured.speedup("pruned")
    quantized = "".join(f"{name} {measured.speedup(name).value:.2f}x, " for name in list(files)[2:])
    step.record = {"benchmark": key, "target": where.label()}
    step.summary = (
        f"{faster.value:.2f}x faster ({faster.low:.2f} – {faster.high:.2f}), {quantized}"
        f"control {measured.noise.value:.2f} ({measured.noise.low:.2f} – {measured.noise.high:.2f}); {where.label()}"
    )
    return key


def _files(exported: Path, workload: Workload) -> dict[str, Path]:
    """Return what is timed: the quantized candidate last, under the name of its format, where there is one."""
    files = {"dense": exported / "dense.onnx", "pruned": exported / "candidate.onnx"}
    if workload.quantize and (exported / QUANTIZED).is_file():
        files[workload.quantize.format] = exported / QUANTIZED
    return files
