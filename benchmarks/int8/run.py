"""Measure the speed, size and accuracy of INT8 on top of pruning.

    python -m benchmarks.int8.run [speed] [accuracy]      # by default both; resumes

Writes ``speed.jsonl``, ``accuracy.jsonl`` and ``docs/benchmarks/int8.md``. To measure a record again, delete it first.
"""

import copy
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks import PAGES
from benchmarks.int8.models import CASES, Case, mobilenet
from benchmarks.int8.page import CONTROL, page
from benchmarks.records import Records
from reprune.config.target import Target, machine
from reprune.data.datasets import Batch, iter_batches
from reprune.data.model_io import feed
from reprune.data.tasks import Classification, LanguageModeling, Task
from reprune.inference.latency.quick_latency import measure_latency
from reprune.inference.onnx.export import export
from reprune.inference.onnx.mixed_precision import Allowed, compare_files, quantize_within
from reprune.inference.onnx.quantize import Format, Quantizer, needs_reduced_range
from reprune.training.distillation import Distillation
from reprune.training.qat import Rounding
from reprune.training.trainer import Settings, fit
from reprune.workloads.digits.data import load as load_digits
from reprune.workloads.digits.model import ResNet
from reprune.workloads.stdlib_text.data import load as load_text
from reprune.workloads.stdlib_text.model import Transformer

HERE = Path(__file__).parent
CONDITIONS, SPEED, ACCURACY = HERE / "conditions.json", HERE / "speed.jsonl", HERE / "accuracy.jsonl"
SEEDS = (0, 1, 2)
SESSIONS = 10
AWARE_EPOCHS = 4
OCTAVES = 9
ALLOWED = Allowed(drop=0.005, agreement=0.98, error=0.25)
REDUCED = needs_reduced_range(machine().instruction_sets)


def speed(case: Case, folder: Path) -> dict[str, Any]:
    """Time dense twice, pruned, and pruned in each format, in several sessions."""
    torch.manual_seed(0)
    inputs = case.inputs()
    files = {"dense": folder / "dense.onnx", "pruned": folder / "pruned.onnx"}
    for name, build in (("dense", case.dense), ("pruned", case.pruned)):
        export(build().eval(), inputs, files[name])
    for kind in case.formats:
        quantizer = Quantizer(files["pruned"], kind, reduced=REDUCED)
        quantizer.calibrate([case.inputs() for _ in range(4)])
        files[kind] = quantizer.write(folder / f"{kind}.onnx")
    target, timed = Target(batch_size=case.batch), files | {CONTROL: files["dense"]}
    sessions = [
        measure_latency(timed, feed(inputs), target, seconds=case.seconds, seed=session) for session in range(SESSIONS)
    ]
    return {"size_bytes": {name: path.stat().st_size for name, path in files.items()}, "sessions": sessions}


class Wide(nn.Module):
    """A residual network on the digits enlarged to 32×32."""

    def __init__(self) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=4, mode="bilinear")
        self.shrink = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.BatchNorm2d(1), nn.ReLU())
        self.net = ResNet(16, blocks=2)

    def forward(self, image: Tensor) -> Tensor:
        """Map images ``[N, 1, 8, 8]`` to logits ``[N, 10]``."""
        return self.net(self.shrink(self.enlarge(image)))


@dataclass(frozen=True)
class Trained:
    """A workload to quantize: model, data and training settings."""

    build: Callable[[], nn.Module]
    load: Callable[[str], Any] = load_digits
    task: Task = Classification()
    epochs: int = 12
    rate: float = 3e-3
    optimizer: Literal["adamw", "sgd"] = "adamw"
    kind: Format = "int8"
    methods: tuple[tuple[str, ...], ...] = (("minmax", "percentile"), ("entropy",))
    """Calibration methods in the order of measurement; the last one takes long."""
    after: Callable[[nn.Module], None] = lambda model: None
    """Called with the trained model."""

    def fit(self, model: nn.Module, seed: int, epochs: int, rate: float, rounding: Rounding | None = None) -> None:
        """Train a model in place on the labels.

        With rounding, train it under rounding with its float self as the teacher.
        """
        teacher = Distillation(self.task, copy.deepcopy(model), weight=0.9, temperature=4) if rounding else None
        settings = Settings(
            epochs=epochs, learning_rate=rate, optimizer=self.optimizer, weight_decay=1e-4, seed=seed, rounding=rounding
        )
        fit(
            model,
            lambda key: DataLoader(self.load("train"), 64, shuffle=True, generator=torch.Generator().manual_seed(key)),
            teacher or (lambda outputs, targets, inputs: self.task.loss(outputs, targets)),
            settings,
            validate=lambda it: 0.0,
        )

    def batches(self, split: str, limit: int | None = None) -> Iterator[Batch]:
        """Yield a split in order."""
        return iter_batches(self.load(split), batch_size=64, limit=limit)


@torch.no_grad()
def unbalance(model: nn.Module) -> None:
    """Scale channels within blocks apart, and scale the next convolution back.

    In float nothing changes.
    """
    for block in model.blocks:
        factors = 2 ** (OCTAVES * (torch.rand(block.bn1.num_features) - 0.5))
        block.bn1.weight *= factors
        block.bn1.bias *= factors
        block.conv2.weight /= factors.view(1, -1, 1, 1)


TRAINED = {
    "digits, ResNet-20 of width 16": Trained(lambda: ResNet(16)),
    "digits, ResNet-20 of width 8": Trained(lambda: ResNet(8)),
    "digits at 32×32, ResNet-14 of width 16": Trained(Wide, epochs=6),
    "digits, MobileNetV2 of width 8": Trained(lambda: mobilenet(8), epochs=25, rate=0.1, optimizer="sgd"),
    "constructed: ResNet-20 of width 8, channels scaled apart": Trained(
        lambda: ResNet(8), methods=(("minmax",),), after=unbalance
    ),
    "stdlib-text, width 128": Trained(
        Transformer, load_text, LanguageModeling(), epochs=1, kind="dynamic-int8", methods=(("",),)
    ),
}


def accuracy(it: Trained, seed: int, methods: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """Train a model, quantize it with each calibration method, and compare on test.

    Quantizes all operators; then as many as the tolerance allows; then all after more epochs under rounding, with
    ``minmax`` ranges. Each file is compared with the float one.
    """
    torch.manual_seed(seed)
    model = it.build()
    it.fit(model, seed, it.epochs, it.rate)
    it.after(model)
    reference, path = folder / "float.onnx", folder / "quantized.onnx"
    export(model, next(it.batches("validation"))[0], reference)

    def judged() -> dict[str, float]:
        test = compare_files(reference, path, it.batches("test"), it.task, Target())
        return {"drop": test.drop, "agreement": test.parity.argmax_agreement, "float_score": test.float_score}

    def quantizer(source: Path, method: str) -> Quantizer:
        made = Quantizer(source, it.kind, reduced=REDUCED)
        if method:
            made.calibrate([inputs for inputs, _ in it.batches("train", 256)], method)
        return made

    rows = []
    for method in methods:
        made = quantizer(reference, method)
        made.write(path)
        whole = judged()
        found = quantize_within(
            made, reference, path, lambda limit: it.batches("validation", limit or 1024), it.task, ALLOWED
        )
        rows.append(
            {
                "calibration": method,
                "whole": whole,
                "kept": judged(),
                "in_float": len(found.in_float),
                "operators": found.operators,
                "holds": found.holds,
                "size_ratio": path.stat().st_size / reference.stat().st_size,
            }
        )
    if "minmax" in methods:
        rounding = Rounding(levels=64 if REDUCED else 127)
        it.fit(model, seed + 2, AWARE_EPOCHS, it.rate / 3, rounding)
        export(model, next(it.batches("validation"))[0], folder / "source.onnx")
        quantizer(folder / "source.onnx", "minmax").write(path)
        rows[0]["aware"] = judged()
    return rows


def main() -> None:
    """Run the named parts, and write the page."""
    parts = sys.argv[1:] or ["speed", "accuracy"]
    timed, trained = Records(SPEED, ("model",)), Records(ACCURACY)
    conditions = {
        "cpu": machine().cpu_model,
        "instruction_sets": machine().instruction_sets,
        "reduced": REDUCED,
        "aware_epochs": AWARE_EPOCHS,
    }
    CONDITIONS.write_text(json.dumps(conditions, indent=1) + "\n")
    torch.set_num_threads(1)
    for name, case in CASES.items() if "speed" in parts else ():
        if not timed.has(name):
            with TemporaryDirectory() as folder:
                timed.add(model=name, **speed(case, Path(folder)))
            write_page()
    jobs = [(name, it, seed, methods) for name, it in TRAINED.items() for seed in SEEDS for methods in it.methods]
    for name, it, seed, methods in sorted(jobs, key=lambda job: "entropy" in job[3]) if "accuracy" in parts else ():
        about = {"model": name, "seed": seed, "format": it.kind}
        if not trained.select(**about, calibration=methods[0]):
            with TemporaryDirectory() as folder:
                rows = accuracy(it, seed, methods, Path(folder))
            for row in rows:
                trained.add(**about, **row)
            write_page()


def write_page() -> None:
    """Write the page from the raw results."""
    conditions = json.loads(CONDITIONS.read_text())
    (PAGES / "int8.md").write_text(page(conditions, list(Records(SPEED)), list(Records(ACCURACY))))


if __name__ == "__main__":
    main()
