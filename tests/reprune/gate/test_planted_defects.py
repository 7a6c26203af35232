"""Defects planted one at a time in a model that passes otherwise: the default policy names each, and only it."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from reprune.config.gate import GatePolicy
from reprune.gate.evaluate import judge
from reprune.gate.evidence import Evidence, collect
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.latency.bootstrap import quantiles
from reprune.inference.latency.timing import Samples
from reprune.inference.onnx import parity
from tests.reprune.gate.conftest import BUDGET, TARGET, failing, simulated


def test_one_class_of_ten_loses_15_points_within_the_overall_tolerance(equal: Evidence) -> None:
    labels = np.arange(3000) % 10
    dense, candidate = np.ones(3000), np.ones(3000)
    candidate[np.flatnonzero(labels == 8)[:45]] = 0
    verdict = judge(simulated(dense, candidate, equal, labels), GatePolicy(), BUDGET)
    assert verdict.named("quality against dense").status == "passed", "1.5 points of 2 overall"
    assert not verdict.passed and failing(verdict) == {"slice: class 8"}
    assert verdict.reasons()[0].startswith("class 8: pruned lost 15.0 points")
    assert judge(simulated(dense, candidate, equal, labels), GatePolicy(slices="warn"), BUDGET).passed


@pytest.mark.parametrize(
    ("sharpen", "caught"),
    [(0.2, {"calibration error", "Brier score", "loss"}), (8.0, {"loss"})],
    ids=["underconfident", "overconfident where wrong"],
)
def test_a_miscalibrated_model_of_the_same_accuracy(
    workload, data, dense, trained, as_onnx, equal: Evidence, sharpen: float, caught: set[str]
) -> None:
    other = copy.deepcopy(trained)
    other.sharpen.fill_(sharpen)
    found = collect(workload, data=data, dense=dense, candidate=as_onnx(other, f"sharpen-{sharpen}"))
    verdict = judge(replace(found, benchmarks=equal.benchmarks, parity=equal.parity), GatePolicy(), BUDGET)
    assert verdict.named("quality against dense").estimate == 0
    assert verdict.passed, "calibration warns by default"
    assert failing(verdict) == caught
    strict = GatePolicy(calibration="block")
    assert not judge(replace(found, benchmarks=equal.benchmarks, parity=equal.parity), strict, BUDGET).passed


def test_a_p99_spike_behind_a_good_p50(equal: Evidence, timed) -> None:
    verdict = judge(replace(equal, benchmarks=[_spiking(timed(), share=0.02)]), GatePolicy(), BUDGET)
    assert not verdict.passed and failing(verdict) == {f"p99 latency on {TARGET}"}
    assert verdict.named(f"p50 latency on {TARGET}").status == "passed"
    assert verdict.named(f"p95 latency on {TARGET}").status == "passed"


def test_a_spike_too_rare_to_be_shown_warns(equal: Evidence, timed) -> None:
    verdict = judge(replace(equal, benchmarks=[_spiking(timed(), share=0.011)]), GatePolicy(), BUDGET)
    check = verdict.named(f"p99 latency on {TARGET}")
    assert verdict.passed and check.warns and check.status == "inconclusive" and "too noisy to tell" in check.statement


def test_an_onnx_file_that_is_not_its_bundle(data, trained, as_onnx, equal: Evidence) -> None:
    other = copy.deepcopy(trained)
    with torch.no_grad():
        other.classifier.weight[3] *= 1.05
    hop = parity.compare(trained, as_onnx(other, "other"), [inputs for inputs, _ in data.batches("test")])
    verdict = judge(replace(equal, parity={"torch to ONNX": hop}), GatePolicy(), BUDGET)
    assert not verdict.passed and failing(verdict) == {"parity: torch to ONNX"}


def test_a_shuffled_label_column(equal: Evidence, workload, data, dense, trained, tmp_path) -> None:
    inputs, labels = (torch.cat(parts).numpy() for parts in zip(*data.batches("test"), strict=True))
    np.savez(tmp_path / "shuffled.npz", inputs=inputs, targets=np.random.default_rng(0).permutation(labels))
    shuffled = workload.replace(splits={"test": str(tmp_path / "shuffled.npz")})
    found = collect(shuffled, dense=dense, candidate=dense)
    verdict = judge(replace(found, benchmarks=equal.benchmarks, parity=equal.parity), GatePolicy(), BUDGET)
    assert not verdict.passed and failing(verdict) == {"better than chance"}


def _spiking(run: Benchmark, share: float) -> Benchmark:
    """A benchmark whose pruned model takes five times the dense one's time on a share of its 2,000 calls."""
    rng = np.random.default_rng(0)
    rounds = np.repeat(np.arange(100), 20).tolist()

    def timing(name: str, spikes: float):
        seconds = run.models[name].p50_seconds.value * rng.lognormal(0, 0.03, 2000)
        seconds[rng.choice(2000, round(2000 * spikes), replace=False)] = 5e-3
        p50, p95, p99 = quantiles(Samples(seconds.tolist(), rounds), (0.5, 0.95, 0.99), rng)
        return run.models[name].model_copy(update={"p50_seconds": p50, "p95_seconds": p95, "p99_seconds": p99})

    return run.model_copy(
        update={"models": run.models | {"dense": timing("dense", 0), "pruned": timing("pruned", share)}}
    )
