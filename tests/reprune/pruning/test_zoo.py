"""Every architecture of the zoo, cut and used in every way a user would."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import reprune
from reprune.pruning import verify
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.graph.capture import as_call
from reprune.pruning.prune import cut, prune
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import replay
from tests.reprune.pruning.helpers import assert_close, larger_batch, outputs, randomize, zeroed
from tests.reprune.pruning.zoo import ZOO

ROOT = Path(__file__).parents[3]

GROUPS = json.loads((Path(__file__).parent / "zoo" / "groups.json").read_text())


def build(name, seed=0):
    torch.manual_seed(seed)
    model, inputs = ZOO[name]()
    return randomize(model), inputs


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ZOO)
def test_groups_are_the_known_ones(name):
    found = [[group.name, group.kind, group.width] for group in analyze(*build(name)).groups]
    assert found == GROUPS[name]


READER = """
import sys, torch, reprune
torch.set_num_threads(int(sys.argv[1]))
from tests.reprune.pruning.helpers import outputs
for line in sys.stdin:
    folder = line.strip()
    try:
        inputs, expected = torch.load(folder + "/example.pt", weights_only=True)
        found = outputs(reprune.load(folder, allow=["tests.reprune.pruning.test_zoo:of_zoo"]), inputs)
        same = len(found) == len(expected) and all(map(torch.equal, found, expected))
        print("same" if same else "other outputs", flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"""


@pytest.fixture(scope="module")
def elsewhere():
    """A fresh process, which loads bundles and says whether they give the outputs that were kept beside them."""
    command = [sys.executable, "-c", READER, str(torch.get_num_threads())]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "."},
    )

    def ask(folder):
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield ask
    process.stdin.close()
    process.wait(timeout=60)


def of_zoo(name) -> nn.Module:
    """Build a model anew, as a bundle does."""
    return ZOO[name]()[0]


@pytest.mark.parametrize("name", ZOO)
def test_a_cut_model_is_smaller_and_works_in_every_way(name, tmp_path, elsewhere):
    use_in_every_way(name, 0.5, tmp_path, elsewhere)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.25, 0.75])
@pytest.mark.parametrize("name", ZOO)
def test_a_cut_model_works_at_other_ratios(name, ratio, tmp_path, elsewhere):
    use_in_every_way(name, ratio, tmp_path, elsewhere)


def use_in_every_way(name, ratio, tmp_path, elsewhere):
    model, inputs = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned, recipe = prune(model, inputs, ratio=ratio)

    assert count(pruned) < count(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    recipe.save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path / "recipe.json") == recipe
    assert_close(outputs(pruned, inputs), outputs(replay(model, recipe), inputs), 0)
    other, _ = build(name, seed=1)
    assert count(replay(other, recipe)) == count(pruned)
    assert all(
        len(x) == 3 * len(y)
        for x, y in zip(outputs(pruned, larger_batch(inputs)), outputs(pruned, inputs), strict=True)
    )

    learns(pruned, inputs)
    keep_and_load(pruned, inputs, name, tmp_path, elsewhere)
    again, second = prune(pruned, inputs, ratio=0.3)
    assert_close(outputs(again, inputs), outputs(replay(pruned, second), inputs), 0)
    assert {k: v.shape for k, v in replay(model, recipe.then(second)).state_dict().items()} == {
        k: v.shape for k, v in again.state_dict().items()
    }
    args, kwargs = as_call(inputs)
    torch.export.export(again.eval(), args, kwargs, strict=False)
    keep_and_load(again, inputs, name, tmp_path, elsewhere)


def keep_and_load(model, inputs, name, folder, elsewhere):
    """Save what is trained and cut, and have another process say whether it loads the very same."""
    reprune.save(model, folder, factory=f"{__name__}:of_zoo", arguments={"name": name})
    torch.save((inputs, outputs(model, inputs)), folder / "example.pt")
    assert elsewhere(folder) == "same"


def learns(model, inputs):
    """Take one optimizer step in training mode."""
    args, kwargs = as_call(inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    out = model.train()(*args, **kwargs)
    loss = sum(x.square().mean() for x in torch.utils._pytree.tree_leaves(out))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("name", ZOO)
def test_a_cut_model_exports_to_onnx(name, ratio, tmp_path):
    import onnxruntime

    model, inputs = build(name)
    pruned, _ = prune(model, inputs, ratio=ratio)
    args, kwargs = as_call(inputs)
    path = tmp_path / "model.onnx"
    torch.onnx.export(pruned.eval(), args, path, kwargs=kwargs, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    values = [x.numpy() for x in torch.utils._pytree.tree_leaves((args, kwargs))]
    found = session.run(None, {i.name: value for i, value in zip(session.get_inputs(), values, strict=True)})
    assert_close(outputs(pruned, inputs), [torch.from_numpy(x) for x in found], 1e-4)


@pytest.mark.parametrize("name", ["vgg", "autoencoder", "vit_width", "llama", "lstm", "channel_shuffle", "shufflenet"])
def test_one_example_tells_as_much_as_a_batch(name):
    model, inputs = build(name)
    found = [[group.name, group.kind, group.width] for group in analyze(model, inputs[:1]).groups]
    assert found == GROUPS[name]


QUICK = ("resnet", "vit_packed", "llama_tied")


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in ZOO])
def test_bfloat16_and_no_grad(name):
    model, inputs = build(name)
    model = model.bfloat16()
    inputs = torch.utils._pytree.tree_map(lambda x: x.bfloat16() if x.is_floating_point() else x, inputs)
    try:
        outputs(model, inputs)
    except RuntimeError as error:
        pytest.skip(f"the dense model has no bfloat16: {error}")
    with torch.no_grad():
        pruned, _ = prune(model, inputs, ratio=0.5)
    assert count(pruned) < count(model)
    kinds = {p.dtype for p in model.parameters()}
    assert all(parameter.dtype in kinds and parameter.requires_grad for parameter in pruned.parameters())


@cache
def analyzed(name):
    model, inputs = exact(name, 0)
    return analyze(model, inputs), inputs


def exact(name, seed):
    """Build a model in double precision, in which a cut differs from zeroing out by nothing but a mistake."""
    model, inputs = build(name, seed)
    return model.double(), torch.utils._pytree.tree_map(lambda x: x.double() if x.is_floating_point() else x, inputs)


def equals_zeroing_out(name, data):
    """Cut random cells of random groups, of a model with other weights than the one that was analyzed."""
    analysis, inputs = analyzed(name)
    model, _ = exact(name, data.draw(st.integers(0, 2**16), label="seed"))
    keep = {}
    for group in analysis.groups:
        if data.draw(st.integers(0, 3)):
            width = data.draw(st.integers(1, group.width), label=group.name)
            keep[group.name] = data.draw(st.permutations(range(group.width)))[:width]
    pruned, _ = cut(model, analysis, keep)
    expected = verify.zeroed(analysis, model, verify.cells_of(analysis, keep), inputs)
    assert_close(expected, outputs(pruned, inputs), 1e-9)
    if not mixes_what_is_cut(analysis):
        assert_close(outputs(zeroed(model, analysis, keep), inputs), outputs(pruned, inputs), 1e-9)


def mixes_what_is_cut(analysis):
    """Whether something but a weight mixes indices that may go: a norm, a mean. The engine's oracle accounts for it."""
    weighs = {operator.node for operator in analysis.operators}
    return any(
        reduction.node not in weighs and (analysis.cells[reduction.labels] >= 0).any()
        for reduction in analysis.flow.reductions
    )


@pytest.mark.parametrize("name", ZOO)
def test_a_cut_equals_zeroing_out(name):
    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(st.data())
    def check(data):
        equals_zeroing_out(name, data)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_many_cuts_equal_zeroing_out(name):
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        equals_zeroing_out(name, data)

    check()


class Moody(nn.Module):
    """Drops out, and takes another path while it learns."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.extra = nn.Linear(4, 12), nn.Linear(12, 12), nn.Linear(12, 3), nn.Linear(12, 3)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x):
        x = F.dropout(F.relu(self.a(x)), 0.1, self.training)
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
            return self.c(F.relu(self.b(self.dropout(x)))) + 0.3 * self.extra(x)
        return self.c(F.relu(self.b(x)))


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_that_depends_on_training(training):
    torch.manual_seed(0)
    model, inputs = Moody().train(training), torch.randn(3, 4)
    pruned, _ = prune(model, inputs, ratio=0.5)
    assert pruned.training is training and pruned.dropout.p == 0.25
    assert (pruned.a.out_features, pruned.extra.in_features) == (6, 6)
    learns(pruned, inputs)
    assert torch.isfinite(pruned.eval()(inputs)).all()


def test_tied_weights_stay_tied():
    model, inputs = build("llama_tied")
    pruned, _ = prune(model, inputs, ratio=0.5)
    assert pruned.lm_head.weight is pruned.embed.weight
