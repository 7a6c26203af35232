"""Judge the candidate: is anything lost that matters, and is it as fast and small as it must be?"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reprune import hashing
from reprune.gate import evidence as gathering
from reprune.gate import format_choice
from reprune.gate.confidence_intervals import mean_interval
from reprune.gate.evaluate import judge
from reprune.gate.evidence import Evidence
from reprune.gate.format_choice import Quantized
from reprune.gate.predictions import CANDIDATE, DENSE, FLOAT
from reprune.gate.verdict import Verdict
from reprune.inference.champion import ONNX
from reprune.inference.latency.benchmark import CONTROL, Benchmark
from reprune.inference.onnx.parity import Parity
from reprune.steps import run_report
from reprune.steps.benchmark import QUANTIZED
from reprune.steps.context import Step
from reprune.steps.quantization import Quantization


def run(step: Step, *, exported: Path, evidence: list[str], verdict: Path, report: Path) -> str:
    """Write the verdict and the report; return ``promote`` or ``reject``."""
    record = json.loads((exported / "export.json").read_text())
    benchmarks = [step.store.get_model(key, Benchmark) for key in evidence]
    with TemporaryDirectory() as scratch:
        step.progress("fetching the champion")
        pointer = step.registry.fetch_champion(Path(scratch), only=[ONNX])
        champion = Path(scratch) / ONNX if pointer else None
        judging = _Judging(step, exported, record["models"], benchmarks, champion)
        gathered, judged, said = judging.served(record["quantization"])
    verdict.write_text(judged.model_dump_json(indent=2))
    step.record = {
        "decision": "promote" if judged.passed else "reject",
        "verdict_sha256": hashing.of_file(verdict),
        "comparison": _comparison(gathered, record["models"], step.workload.gate.confidence),
        "quantization": said,
        "checks": [check.model_dump(mode="json") | {"status": check.outcome} for check in judged.checks],
        "reasons": judged.reasons(),
        "champion": pointer.model_dump(mode="json") if pointer else None,
    }
    step.progress("writing the report")
    run_report.write(step, report, verdict=judged, evidence=gathered, quantization=said)
    step.put_evidence("report.html", report.read_bytes())
    step.summary = judged.summary
    return "promote" if judged.passed else "reject"


class _Judging:
    """Judges the file that would be served: the quantized one where it pays and passes, else the one in float."""

    def __init__(
        self,
        step: Step,
        exported: Path,
        models: dict[str, Any],
        benchmarks: Sequence[Benchmark],
        champion: Path | None,
    ) -> None:
        self._step, self._exported, self._models = step, exported, models
        self._benchmarks, self._champion = benchmarks, champion

    def served(self, asked: dict[str, Any] | None) -> tuple[Evidence, Verdict, str]:
        """Return evidence and verdict of the file that would be served, and in words why it is that one."""
        if asked is None:
            return *self._judge(None), ""
        quantization = Quantization.model_validate(asked)
        if quantization.status != "made":
            return *self._judge(None), quantization.statement
        faster, said = format_choice.pays(self._benchmarks, quantization.format)
        if not faster:
            return *self._judge(None), said
        gathered, judged = self._judge(quantization)
        if judged.passed:
            return gathered, judged, said
        reason = judged.reasons()[0]
        return *self._judge(None), f"float is served: the gate refused {quantization.format}: {reason}"

    def _judge(self, quantization: Quantization | None) -> tuple[Evidence, Verdict]:
        step, candidate, benchmarks = self._step, self._exported / "candidate.onnx", self._benchmarks
        quantized = None
        if quantization:
            benchmarks = [format_choice.as_candidate(run, quantization.format) for run in benchmarks]
            quantized = Quantized(quantization.format, candidate, quantization.hop)
        step.progress(f"answering the test split{f' in {quantized.format}' if quantized else ''}")
        gathered = gathering.collect(
            step.workload,
            dense=self._exported / "dense.onnx",
            candidate=self._exported / QUANTIZED if quantized else candidate,
            champion=self._champion,
            benchmarks=benchmarks,
            parity={
                f"{name}: torch → ONNX": Parity.model_validate(row["parity"]) for name, row in self._models.items()
            },
            quantized=quantized,
            data=step.data,
            bundle_sha256=self._models["candidate"]["bundle_sha256"],
        )
        return gathered, judge(gathered, step.workload.gate, step.workload.budget)


def _comparison(gathered: Evidence, models: dict[str, Any], confidence: float) -> list[dict[str, Any]]:
    """Return a row for each of dense and pruned, as tables show it, the one that is served last.

    Latencies are those of the first target.
    """
    benchmark, quantized = gathered.benchmarks[0], gathered.quantized
    names = {DENSE: "dense", FLOAT: "pruned", CANDIDATE: quantized.format if quantized else "pruned"}
    rows: list[dict[str, Any]] = []
    for name in (it for it in names if it in gathered.answers):
        accuracy, timing = mean_interval(gathered.answers[name].scores, confidence), benchmark.models[name]
        rows.append(
            {
                "model": names[name],
                "metric": gathered.metric,
                "accuracy": accuracy.value,
                "accuracy_interval": [accuracy.low, accuracy.high],
                "examples": gathered.examples,
                "parameters": models["dense" if name == DENSE else "candidate"]["parameters"],
                "size_bytes": gathered.size_bytes[name],
                "p50_seconds": timing.p50_seconds.value,
                "p95_seconds": timing.p95_seconds.value,
                "target": benchmark.target.label(),
            }
        )
    faster, control = benchmark.speedup(CANDIDATE), benchmark.models[CONTROL].latency_ratio.inverse()
    rows[-1] |= {
        "speed_up": faster.value,
        "speed_up_interval": [faster.low, faster.high],
        "control": control.value,
        "control_interval": [control.low, control.high],
    }
    return rows
