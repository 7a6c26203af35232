from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reprune.config.limits import LatencyLimit, SizeLimit
from reprune.config.target import Target
from reprune.data.model_io import feed
from reprune.inference.latency.profiler import profile
from reprune.inference.latency.quick_latency import measure_latency
from reprune.inference.onnx.export import export
from reprune.planning.graph_timer import Stopwatch
from reprune.planning.plan import make_plan
from reprune.planning.sensitivity.analyze import analyze_sensitivity
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.prune import cut

TARGETS = [Target(batch_size=1), Target(batch_size=8)]


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(2048, 10))
    inputs = torch.randn(64, 1, 8, 8)
    return model, analyze(model, inputs[:8]), inputs


@pytest.fixture(scope="module")
def watch(parts, tmp_path_factory):
    model, _, inputs = parts
    return Stopwatch(model, lambda size: inputs[:size], TARGETS, tmp_path_factory.mktemp("watch"))


def narrowed(parts, widths):
    model, analysis, _ = parts
    keep = {name: list(range(width)) for name, width in widths.items() if width < analysis.group(name).width}
    return cut(model, analysis, keep)[0]


def test_the_dense_graph_is_timed_on_every_target_and_is_its_own_ratio(parts, watch):
    assert len(watch.dense_seconds) == len(TARGETS)
    assert all(0 < seconds < 1 for seconds in watch.dense_seconds)
    ratios = watch.ratios(parts[0])
    assert all(0.1 < ratio < 10 for ratio in ratios)


def test_models_are_timed_by_name_at_the_targets_batch(parts, tmp_path):
    export(parts[0], parts[2][:8], tmp_path / "model.onnx")
    models = {"file": tmp_path / "model.onnx", "bytes": (tmp_path / "model.onnx").read_bytes()}
    timed = measure_latency(models, feed(parts[2][:2]), Target(batch_size=3), seconds=0.05)
    assert set(timed) == {"file", "bytes"}
    assert all(0 < seconds < 1 for seconds in timed.values())


def test_a_real_model_is_profiled_analyzed_planned_and_measured(parts, watch, tmp_path):
    model, analysis, inputs = parts
    labels = model(inputs).argmax(1)
    curves = analyze_sensitivity(
        model, analysis, [(inputs, labels)], lambda y, t: F.cross_entropy(y, t, reduction="none"), criterion="l1"
    )
    tables = [profile(analysis.operators, target, seconds=1.0) for target in TARGETS]
    size = SizeLimit.model_validate("0.6x")
    budget = SimpleNamespace(latency=LatencyLimit.model_validate("0.99x"), size=size)
    plan = make_plan(
        analysis,
        tables,
        curves,
        budget,
        measure=lambda widths: watch.seconds(narrowed(parts, widths)) if widths else watch.dense_seconds,
        dense_size_bytes=watch.dense_size_bytes,
        rounds=2,
    )
    assert plan.targets == tuple(target.label() for target in TARGETS)
    assert set(plan.widths) == {group.name for group in analysis.groups}
    assert plan.size_bytes <= plan.size_budget_bytes < watch.dense_size_bytes
    assert 1 <= len(plan.rounds) <= 2
    exported = export(narrowed(parts, plan.widths), inputs[:8], tmp_path / "pruned.onnx")
    assert exported.size_bytes == pytest.approx(plan.size_bytes, rel=0.02)
