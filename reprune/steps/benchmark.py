"""Time the candidate against the dense model on one target, in turns and in one process."""

from pathlib import Path

from safetensors.numpy import load_file

from reprune.hardware.benchmark import compare
from reprune.hardware.target import Target
from reprune.report import hardware_pages
from reprune.step import Step

SECONDS = 8.0
"""Time for the interleaved rounds of one target."""


def inputs_file(exported: Path, batch_size: int) -> Path:
    """Return the file beside exported models with a batch of their inputs: arrays by the names of the graph."""
    return exported / f"inputs-{batch_size}.safetensors"


def run(step: Step, *, exported: Path, target: str, report: Path) -> str:
    """Return the key in the store of what was measured."""
    where = Target.model_validate_json(target).check()
    step.part = where.slug()
    samples = exported.parent / "samples.npz"
    measured = compare(
        {"dense": exported / "dense.onnx", "pruned": exported / "candidate.onnx"},
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
    step.record = {"benchmark": key, "target": where.label()}
    step.summary = (
        f"{faster.value:.2f}x faster ({faster.low:.2f} – {faster.high:.2f}), "
        f"control {measured.noise.value:.2f} ({measured.noise.low:.2f} – {measured.noise.high:.2f}); {where.label()}"
    )
    return key
