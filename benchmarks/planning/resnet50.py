"""Plan ResNet-50 for a budget of latency and size, in float and in INT8.

    python -m benchmarks.planning.resnet50

Practitioners quote a reduction from 98 MB and 200 ms to 41 MB and 45 ms, and with INT8 to 19 MB and 22 ms. As ratios
these are 0.42 of the bytes and 0.225 of the latency, and 0.19 and 0.11.
"""

import json
import time

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.planning.case import HERE, WORK, Case, ratios
from benchmarks.planning.models import build
from reprune.config.sections import Budget
from reprune.config.target import machine
from reprune.inference.onnx.export import export
from reprune.planning.plan import make_plan

LATENCY, SIZE = "0.225x", "0.42x"
LIMITS = {"float": (0.42, 0.225), "int8": (0.19, 0.11)}
FOLDER = WORK / "resnet50-case"


class Random(CalibrationDataReader):
    """Random images to calibrate on: latency does not depend on the ranges."""

    def __init__(self, name: str, batches: int = 4) -> None:
        rng = np.random.default_rng(0)
        self._left = [{name: rng.standard_normal((1, 3, 224, 224), dtype=np.float32)} for _ in range(batches)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None."""
        return self._left.pop() if self._left else None


def quantize(name: str) -> None:
    """Quantize a graph: signed INT8 weights by channel, unsigned activations."""
    prepared = FOLDER / f"{name}-prepared.onnx"
    quant_pre_process(str(FOLDER / f"{name}.onnx"), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(FOLDER / f"{name}-int8.onnx"),
        Random("input"),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def prepare() -> dict:
    """Plan, export and quantize the graphs, and return the plan."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    case = Case("ResNet-50")
    table, losses, dense = case.table, case.sensitivity, case.measure({})
    start = time.perf_counter()
    plan = make_plan(
        case.analysis,
        [table],
        losses,
        Budget(latency=LATENCY, size=SIZE),
        measure=case.measure,
        dense_size_bytes=case.watch.dense_size_bytes,
    )
    seconds = time.perf_counter() - start
    export(case.model, case.inputs, FOLDER / "dense.onnx")
    export(case.cut(plan.widths), case.inputs, FOLDER / "pruned.onnx")
    for name in ("dense", "pruned"):
        quantize(name)
    return {
        "planned_ratio": plan.measured_latency_seconds[0] / dense[0],
        "macs_ratio": case.macs(plan.widths) / case.macs(),
        "planning_seconds": seconds,
        "widths": plan.widths,
    }


def main() -> None:
    """Plan unless a plan is kept, time the graphs, and write the results."""
    kept = FOLDER / "plan.json"
    if not kept.is_file():
        kept.write_text(json.dumps(prepare()))
    files = {name: FOLDER / f"{name}.onnx" for name in ("dense", "pruned", "dense-int8", "pruned-int8")}
    _, inputs, target = build("ResNet-50")
    timed = ratios(files, inputs, target)
    size = {name: path.stat().st_size for name, path in files.items()}
    rows = {
        name: {
            "size_bytes": size[name],
            "size_ratio": size[name] / size["dense"],
            "latency_ratio": float(np.median(timed[name])),
            "sessions": timed[name],
        }
        for name in files
    }
    result = {
        "cpu": machine().cpu_model,
        "instruction_sets": machine().instruction_sets,
        **json.loads(kept.read_text()),
        "control": timed["control"],
        "models": rows,
        "met": {
            kind: rows[name]["size_ratio"] <= bytes_ratio and rows[name]["latency_ratio"] <= latency
            for (kind, (bytes_ratio, latency)), name in zip(LIMITS.items(), ("pruned", "pruned-int8"), strict=True)
        },
    }
    (HERE / "resnet50.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "widths"}, indent=1))


if __name__ == "__main__":
    main()
