"""Judge the candidate: is anything lost that matters, and is it as fast and small as it must be?"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reprune import digest
from reprune.gate import evidence as gathering
from reprune.gate.evidence import Evidence
from reprune.gate.judge import judge
from reprune.gate.statistics import mean_interval
from reprune.hardware.benchmark import CONTROL, Benchmark
from reprune.onnx.parity import Parity
from reprune.step import Step
from reprune.steps import run_report


def run(step: Step, *, exported: Path, evidence: list[str], verdict: Path, report: Path) -> str:
    """Write the verdict and the report; return ``promote`` or ``reject``."""
    models = json.loads((exported / "export.json").read_text())
    benchmarks = [Benchmark.model_validate_json(step.store.get(key)) for key in evidence]
    pointer = step.registry.champion()
    with TemporaryDirectory() as scratch:
        champion = None
        if pointer:
            step.progress("fetching the champion")
            champion = step.registry.fetch(pointer.version, Path(scratch), only=["model.onnx"]) / "model.onnx"
        step.progress("answering the test split")
        gathered = gathering.collect(
            step.workload,
            dense=exported / "dense.onnx",
            candidate=exported / "candidate.onnx",
            champion=champion,
            benchmarks=benchmarks,
            parity={f"{name}: torch → ONNX": Parity.model_validate(row["parity"]) for name, row in models.items()},
            data=step.data,
            bundle_sha256=models["candidate"]["bundle_sha256"],
        )
    judged = judge(gathered, step.workload.gate, step.workload.budget)
    verdict.write_text(judged.model_dump_json(indent=2))
    step.record = {
        "decision": "promote" if judged.passed else "reject",
        "verdict_sha256": digest.of_file(verdict),
        "comparison": _comparison(gathered, models, benchmarks[0], step.workload.gate.confidence),
        "checks": [check.model_dump(mode="json") | {"status": check.outcome} for check in judged.checks],
        "reasons": judged.reasons(),
        "champion": pointer.model_dump(mode="json") if pointer else None,
    }
    step.progress("writing the report")
    run_report.write(step, report, verdict=judged, evidence=gathered, benchmarks=benchmarks)
    step.put_evidence("report.html", report.read_bytes())
    step.summary = judged.summary
    return "promote" if judged.passed else "reject"


def _comparison(
    gathered: Evidence, models: dict[str, Any], benchmark: Benchmark, confidence: float
) -> list[dict[str, Any]]:
    """Return a row for each of dense and pruned, as tables show it; latencies are those of the first target."""
    rows: list[dict[str, Any]] = []
    for name, file in (("dense", "dense"), ("pruned", "candidate")):
        accuracy, timing = mean_interval(gathered.answers[name].scores, confidence), benchmark.models[name]
        rows.append(
            {
                "model": name,
                "metric": gathered.metric,
                "accuracy": accuracy.value,
                "accuracy_interval": [accuracy.low, accuracy.high],
                "examples": gathered.examples,
                "parameters": models[file]["parameters"],
                "size_bytes": models[file]["size_bytes"],
                "p50_seconds": timing.p50_seconds.value,
                "p95_seconds": timing.p95_seconds.value,
                "target": benchmark.target.label(),
            }
        )
    faster, control = benchmark.speedup("pruned"), benchmark.models[CONTROL].latency_ratio.inverse()
    rows[1] |= {
        "speed_up": faster.value,
        "speed_up_interval": [faster.low, faster.high],
        "control": control.value,
        "control_interval": [control.low, control.high],
    }
    return rows
