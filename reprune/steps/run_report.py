"""The report of a run, put together from what its steps recorded."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE, DENSE, FLOAT
from reprune.gate.verdict import Verdict
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.latency.latency_table import LatencyTable
from reprune.inference.latency.profile_store import read_profile
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.report import pages
from reprune.report.report import write_report
from reprune.steps.context import Step
from reprune.training.temperature_scaling import Scaling
from reprune.training.training_history import History


def write(step: Step, path: Path, *, verdict: Verdict, evidence: Evidence, quantization: str) -> None:
    """Write the report of this step's run; ``quantization`` says in words which file is served, and why."""
    records, benchmarks = step.records(), evidence.benchmarks
    models, pruned = records["export_onnx"]["models"], records["prune"]
    table = _profile(step, records, pruned["profiles"][0])
    analyzed = pruned["sensitivity"] or records["analyze_sensitivity"]["sensitivity"]
    budget = step.workload.budget.latency
    with TemporaryDirectory() as scratch:
        write_report(
            path,
            title=step.workload.name,
            subtitle=f"run {step.run} · {benchmarks[0].target.label()} · {benchmarks[0].machine.cpu_model}",
            verdict=verdict,
            evidence=evidence,
            parameters={DENSE: models["dense"]["parameters"]}
            | dict.fromkeys((CANDIDATE, FLOAT), models["candidate"]["parameters"]),
            quantization=quantization,
            train=History(epochs=records["train"]["history"]),
            finetune=History(epochs=records["finetune"]["history"]),
            rounds=pruned["rounds"],
            sensitivity=pages.sensitivity_points(Sensitivity.model_validate(analyzed)) if analyzed else None,
            widths=pruned["widths"],
            profile=table,
            recordings=[_recording(step, benchmark, Path(scratch)) for benchmark in benchmarks],
            scaling=Scaling.model_validate(scaled) if (scaled := records["finetune"]["scaling"]) else None,
            allowed_ratio=budget.value if budget.relative else None,
            lineage=_lineage(records["train"]["lineage"]),
        )


def _profile(step: Step, records: Mapping[str, Any], key: str) -> LatencyTable:
    """Return what was measured of this run's model; the store's table has other models' operators too."""
    table = read_profile(step.store, key)
    own = {name for record in records.values() if record.get("profile") == key for name in record["operators"]}
    return table.model_copy(update={"operators": {name: it for name, it in table.operators.items() if name in own}})


def _recording(step: Step, benchmark: Benchmark, folder: Path) -> Path:
    name = f"samples-{benchmark.target.slug()}.npz"
    (folder / name).write_bytes(step.get_evidence(name))
    return folder / name


def _lineage(lineage: dict[str, Any]) -> dict[str, str]:
    """Return names and values, nested names joined."""
    shown: dict[str, str] = {}
    for name, value in lineage.items():
        if isinstance(value, dict):
            shown |= {f"{name} · {inner}": str(it) for inner, it in value.items()}
        elif value is not None:
            shown[name.replace("_", " ")] = str(value)
    return shown
