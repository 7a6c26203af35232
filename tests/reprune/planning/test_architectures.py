"""What the engine cuts, the planner can plan: every architecture is profiled, analyzed, planned and advised on."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from reprune.config.sections import Budget
from reprune.config.target import Target
from reprune.errors import InputError
from reprune.inference.latency.operators import OperatorShape, example_batch
from reprune.inference.latency.profiler import profile
from reprune.planning.advisor import facts, variants
from reprune.planning.advisor.advise import EFFECT, advise
from reprune.planning.cost_model import Prices
from reprune.planning.knapsack import InfeasibleError
from reprune.planning.plan import make_plan
from reprune.storage.uri import open_store
from tests.reprune.planning import architectures
from tests.reprune.planning.architectures import ARCHITECTURES, FAMILIES

if find_spec("transformers") is not None:
    from tests.reprune.pruning.zoo.huggingface import MODELS

    ARCHITECTURES |= {f"transformers-{name}": build for name, build in MODELS.items()}

QUICK = {*FAMILIES, "transformers-gpt2"}
TARGETS = [Target(), Target(batch_size=2)]


def each(quick):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in ARCHITECTURES]


def asked(analysis, widths):
    """Return every operator with the widths it has at some widths of the groups, counted from the groups' members."""
    kept = {group.name: widths.get(group.name, group.width) for group in analysis.groups}
    examples = example_batch(analysis.operators)
    for it in analysis.operators:
        if OperatorShape.models(it):
            ins, outs = it.weight_shape[1] * it.groups, it.weight_shape[0]
            ins -= sum(n * (analysis.group(name).width - kept[name]) for name, n in it.in_cells.items())
            outs -= sum(n * (analysis.group(name).width - kept[name]) for name, n in it.out_cells.items())
            yield OperatorShape.of(it, examples), ins, outs


@pytest.mark.parametrize("name", each(QUICK))
def test_every_architecture_is_profiled_and_planned(name, tmp_path):
    subject = architectures.subject(name, tmp_path)
    analysis = subject.analysis
    if not analysis.groups:
        pytest.skip("nothing of it can be cut")
    tables = [profile(analysis.operators, target, seconds=0) for target in TARGETS]
    rng = np.random.default_rng(0)
    for turn in range(10):
        cut = {group.name: int(rng.integers(1, group.width, endpoint=True)) for group in analysis.groups}
        for shape, ins, outs in asked(analysis, cut if turn else {}):
            units = shape.units
            assert ins > 0 == ins % units[0] and outs > 0 == outs % units[1]
            for table in tables:
                assert 0 < table.latency(shape, ins, outs) < 1
                assert turn or (ins, outs) in {(i, o) for i, o, _ in table.of(shape).points}
        assert np.isfinite(Prices(analysis, tables).latencies(cut)).all()
    curves = subject.sensitivity(None)
    assert set(curves.curves) == {group.name for group in analysis.groups}
    try:
        widths = make_plan(analysis, tables, curves, Budget(latency="0.7x")).widths
    except InfeasibleError as error:  # much of what is this small costs the same at any width
        widths = error.nearest.widths
    assert set(widths) == set(curves.curves)
    assert count(subject.narrowed(widths)) < count(subject.model) or widths == Prices(analysis, tables).dense


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["regnet", "depth_multiplier"])
def test_advice_tries_every_method_that_an_architecture_has(name, tmp_path):
    made = variants.make(architectures.subject(name, tmp_path), tmp_path)
    assert {method for method, it in made.items() if isinstance(it, Path)} == {"dense", *EFFECT} - {"heads"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_advised_on(name, tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "SECONDS", 0.2)
    subject = architectures.subject(name, tmp_path)
    try:
        subject.export(tmp_path / "first.onnx")
    except InputError as error:
        pytest.skip(f"the dense model cannot be exported: {error.message}")
    found = facts.gather(subject, Target(), open_store(tmp_path / "store"))
    advice = advise(found, Budget(latency="0.5x"))
    assert [row.method for row in advice.rows] == list(EFFECT)
    if subject.analysis.groups:
        assert advice.rows[0].latency_ratio > 0


@pytest.mark.parametrize("name", ["resnext", "regnet", "depth_multiplier", "unet", "gpt2", "tied_autoencoder", "lstm"])
def test_the_widths_that_operators_are_asked_at_are_those_of_the_cut_model(name, tmp_path):
    """Weights that are stored the other way round, shared, grouped or transposed keep their orientation."""
    subject = architectures.subject(name, tmp_path)
    widths = {group.name: group.fitting(max(1, group.width // 2)) for group in subject.analysis.groups}
    pruned = subject.narrowed(widths)
    again = architectures.subject(name, tmp_path)
    again.model = pruned
    after = [(shape, i, o) for shape, i, o in asked(again.analysis, {})]
    assert list(asked(subject.analysis, widths)) == after
