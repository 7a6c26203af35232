"""A small classifier of the digits as ONNX: dense, and candidates that differ from it in known ways."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reprune.config.loading import load
from reprune.config.sections import Budget
from reprune.config.target import Target, machine
from reprune.config.workload import Workload
from reprune.data.datasets import Data
from reprune.gate.evidence import Evidence, collect
from reprune.gate.predictions import Answers
from reprune.gate.verdict import Verdict
from reprune.inference.latency.benchmark import Benchmark, ModelTiming
from reprune.inference.latency.bootstrap import Estimate
from reprune.inference.latency.system_load import Load
from reprune.inference.onnx import parity
from reprune.inference.onnx.export import export

BUDGET = Budget(latency="0.5x", accuracy_drop=0.02)
TARGET = "CPU, 1 thread, batch 1"


class Digits(nn.Module):
    """One hidden layer; `shift` moves every logit of one class, `sharpen` multiplies all."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 48)
        self.classifier = nn.Linear(48, 10)
        self.register_buffer("sharpen", torch.ones(()))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.relu(self.hidden(image.flatten(1)))) * self.sharpen


@pytest.fixture(scope="session")
def workload() -> Workload:
    return load("digits")


@pytest.fixture(scope="session")
def data(workload: Workload) -> Data:
    return Data(workload)


@pytest.fixture(scope="session")
def trained(data: Data) -> Digits:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(12):
        for inputs, targets in data.training_batches(batch_size=64, seed=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="session")
def as_onnx(folder: Path, data: Data):
    def write(model: nn.Module, name: str) -> Path:
        export(model, data.example(), folder / f"{name}.onnx")
        return folder / f"{name}.onnx"

    return write


@pytest.fixture(scope="session")
def dense(trained: Digits, as_onnx) -> Path:
    return as_onnx(trained, "dense")


def estimate(value: float, spread: float = 0.02) -> Estimate:
    return Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread))


@pytest.fixture(scope="session")
def timed() -> Callable[..., Benchmark]:
    """Make a benchmark of a dense model of 1 ms and a pruned one of the given ratios."""
    return benchmark


def benchmark(p50: float = 0.4, p99: float = 0.5, noise: float = 0.02) -> Benchmark:
    """A benchmark of a dense model of 1 ms and a pruned one of the given ratios."""

    def timing(ratio: float, tail: float) -> ModelTiming:
        return ModelTiming(
            p50_seconds=estimate(1e-3 * ratio),
            p95_seconds=estimate(1.2e-3 * ratio),
            p99_seconds=estimate(1.5e-3 * tail),
            throughput=1e3 / ratio,
            latency_ratio=estimate(ratio),
            size_bytes=1000,
            cold_start_seconds=0.1,
            peak_memory_bytes=None,
            calls=1000,
            warm_up_calls=10,
        )

    return Benchmark(
        target=Target(),
        machine=machine(),
        baseline="dense",
        models={"dense": timing(1.0, 1.0), "pruned": timing(p50, p99), "control": timing(1.0, 1.0)},
        noise=estimate(1.0, noise),
        rounds=100,
        sessions=4,
        load=Load(load_average=None, other_cores=None, steal_ratio=None, contended=False),
    )


@pytest.fixture(scope="session")
def equal(workload, data, dense, trained, timed) -> Evidence:
    """Evidence of a candidate that is the dense model itself, timed at 0.4x."""
    hop = parity.compare(trained, dense, [inputs for inputs, _ in data.batches("test")])
    return collect(
        workload, data=data, dense=dense, candidate=dense, benchmarks=[timed()], parity={"torch to ONNX": hop}
    )


def failing(verdict: Verdict) -> set[str]:
    """Names of the checks that block or warn."""
    return {check.name for check in verdict.checks if check.blocks or check.warns}


def simulated(dense: np.ndarray, candidate: np.ndarray, base: Evidence, labels: np.ndarray) -> Evidence:
    """Evidence of given 0/1 scores; everything else as in the base."""

    def answers(scores: np.ndarray) -> Answers:
        losses = np.where(scores > 0, 0.1, 1.0)
        return Answers(scores, losses, None, None, (dense != candidate).astype(float), 0)

    classes = {f"class {label}": labels == label for label in np.unique(labels)}
    both = {"dense": answers(dense), "pruned": answers(candidate)}
    return replace(
        base, examples=len(labels), labels=labels, slices=classes, answers=both, disagreements=[], conditions={}
    )
