"""INT8 over the pruned float model: how fast, how small, and what it loses; writes ``results.json`` and ``../int8.md``.

Run: ``python docs/benchmarks/int8/run.py [speed] [accuracy]``, all by default; a part that is not named keeps its
results.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from models import CASES, Case
from page import page
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reprune.data import Batch, iter_batches
from reprune.hardware.benchmark import compare
from reprune.hardware.statistics import quotient
from reprune.hardware.target import Target, machine
from reprune.onnx.export import export
from reprune.onnx.mixed import Allowed, compare_files, quantize_within
from reprune.onnx.quantize import Quantizer, needs_reduced_range
from reprune.structure import feed
from reprune.tasks import Classification, LanguageModeling
from reprune.training.fit import Settings, fit
from reprune.workloads.digits.data import load as load_digits
from reprune.workloads.digits.model import ResNet
from reprune.workloads.stdlib_text.data import load as load_text
from reprune.workloads.stdlib_text.model import Transformer

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
SEEDS = (0, 1, 2)
ALLOWED = Allowed(drop=0.005, agreement=0.98, error=0.25)
REDUCED = needs_reduced_range(machine().instruction_sets)


def speed(case: Case, folder: Path) -> dict[str, Any]:
    """Time dense, pruned, and pruned in each format, in turns, with dense against itself."""
    torch.manual_seed(0)
    inputs = case.inputs()
    files = {"dense": folder / "dense.onnx", "pruned": folder / "pruned.onnx"}
    for name, build in (("dense", case.dense), ("pruned", case.pruned)):
        export(build().eval(), inputs, files[name])
    for kind in case.formats:
        quantizer = Quantizer(files["pruned"], kind, reduced=REDUCED)
        quantizer.calibrate([case.inputs() for _ in range(4)])
        files[kind] = quantizer.write(folder / f"{kind}.onnx")
    measured = compare(files, feed(inputs), Target(batch_size=case.batch), seconds=case.seconds)
    found = measured.models
    rows = {
        name: {
            "size_bytes": found[name].size_bytes,
            "p50_seconds": found[name].p50_seconds.value,
            "over_dense": measured.speedup(name).model_dump(),
            "over_pruned": quotient(found[name].latency_ratio, found["pruned"].latency_ratio).inverse().model_dump(),
        }
        for name in files
    }
    control = measured.noise.inverse().model_dump()
    return {"models": rows, "control": control, "busy": measured.load.contended, "rounds": measured.rounds}


class Wide(nn.Module):
    """The digits, enlarged to 32×32, through a residual network whose layers are worth pruning and quantizing."""

    def __init__(self) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=4, mode="bilinear")
        self.shrink = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.BatchNorm2d(1), nn.ReLU())
        self.net = ResNet(16, blocks=2)

    def forward(self, image: Tensor) -> Tensor:
        """Map images ``[N, 1, 8, 8]`` to logits ``[N, 10]``."""
        return self.net(self.shrink(self.enlarge(image)))


TRAINED = {
    "digits, ResNet-20 of width 16": (lambda: ResNet(16), load_digits, Classification(), 12, "int8"),
    "digits, ResNet-20 of width 8": (lambda: ResNet(8), load_digits, Classification(), 12, "int8"),
    "digits at 32×32, ResNet-14 of width 16": (Wide, load_digits, Classification(), 6, "int8"),
    "stdlib-text, width 128": (Transformer, load_text, LanguageModeling(), 1, "dynamic-int8"),
}


def accuracy(name: str, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Train a model, quantize it by each calibration, and compare both files on the test split."""
    build, load, task, epochs, kind = TRAINED[name]
    torch.manual_seed(seed)
    model = build()
    settings = Settings(epochs=epochs, learning_rate=3e-3, weight_decay=1e-4, seed=seed)

    def batches(split: str, limit: int | None = None) -> Iterator[Batch]:
        return iter_batches(load(split), batch_size=64, limit=limit)

    fit(
        model,
        lambda key: DataLoader(load("train"), 64, shuffle=True, generator=torch.Generator().manual_seed(key)),
        lambda outputs, targets, inputs: task.loss(outputs, targets),
        settings,
        validate=lambda it: 0.0,
    )
    export(model, next(batches("validation"))[0], folder / "float.onnx")
    rows = []
    for method in ("minmax", "entropy", "percentile") if kind == "int8" else ("",):
        quantizer = Quantizer(folder / "float.onnx", kind, reduced=REDUCED)
        if method:
            quantizer.calibrate([inputs for inputs, _ in batches("train", 256)], method)
        path = folder / "quantized.onnx"
        found = quantize_within(
            quantizer, folder / "float.onnx", path, lambda limit: batches("validation", limit or 1024), task, ALLOWED
        )
        test = compare_files(folder / "float.onnx", path, batches("test"), task, Target())
        rows.append(
            {
                "model": name,
                "seed": seed,
                "format": kind,
                "calibration": method,
                "float_score": test.float_score,
                "drop": test.drop,
                "agreement": test.parity.argmax_agreement,
                "examples": test.parity.examples,
                "in_float": len(found.in_float),
                "operators": found.operators,
                "holds": found.holds,
                "size_ratio": path.stat().st_size / (folder / "float.onnx").stat().st_size,
            }
        )
    return rows


def main() -> None:
    """Run the parts that are named, and write the page."""
    parts = sys.argv[1:] or ["speed", "accuracy"]
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results["machine"] = {
        "cpu": machine().cpu_model,
        "instruction_sets": machine().instruction_sets,
        "reduced": REDUCED,
    }
    torch.set_num_threads(1)
    if "speed" in parts:
        results["speed"] = {}
        for name, case in CASES.items():
            with TemporaryDirectory() as folder:
                results["speed"][name] = speed(case, Path(folder))
            _keep(results)
    if "accuracy" in parts:
        results["accuracy"] = []
        for name in TRAINED:
            for seed in SEEDS:
                with TemporaryDirectory() as folder:
                    results["accuracy"] += accuracy(name, seed, Path(folder))
                _keep(results)


def _keep(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    (HERE.parent / "int8.md").write_text(page(results))


if __name__ == "__main__":
    main()
