"""Every architecture of the zoo, cut and used in every way a user would."""

import json
from pathlib import Path

import pytest
import torch

from reprune.pruning import Recipe, analyze, prune, replay
from reprune.pruning.capture import as_call
from tests.reprune.pruning.helpers import assert_close, larger_batch, outputs, randomize
from tests.reprune.pruning.zoo import ZOO

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


@pytest.mark.parametrize("name", ZOO)
def test_a_cut_model_is_smaller_and_works_in_every_way(name, tmp_path):
    use_in_every_way(name, 0.5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.25, 0.75])
@pytest.mark.parametrize("name", ZOO)
def test_a_cut_model_works_at_other_ratios(name, ratio, tmp_path):
    use_in_every_way(name, ratio, tmp_path)


def use_in_every_way(name, ratio, tmp_path):
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
    again, second = prune(pruned, inputs, ratio=0.3)
    assert_close(outputs(again, inputs), outputs(replay(pruned, second), inputs), 0)
    assert {k: v.shape for k, v in replay(model, recipe.then(second)).state_dict().items()} == {
        k: v.shape for k, v in again.state_dict().items()
    }
    args, kwargs = as_call(inputs)
    torch.export.export(again.eval(), args, kwargs, strict=False)


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
@pytest.mark.parametrize("name", ZOO)
def test_a_cut_model_exports_to_onnx(name, tmp_path):
    import onnxruntime

    model, inputs = build(name)
    pruned, _ = prune(model, inputs, ratio=0.5)
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


@pytest.mark.parametrize("name", ["resnet", "vit_packed", "llama_tied"])
def test_bfloat16_and_no_grad(name):
    model, inputs = build(name)
    inputs = inputs.bfloat16() if inputs.is_floating_point() else inputs
    with torch.no_grad():
        pruned, _ = prune(model.bfloat16(), inputs, ratio=0.5)
    assert count(pruned) < count(model)
    assert all(parameter.dtype == torch.bfloat16 and parameter.requires_grad for parameter in pruned.parameters())


def test_tied_weights_stay_tied():
    model, inputs = build("llama_tied")
    pruned, _ = prune(model, inputs, ratio=0.5)
    assert pruned.lm_head.weight is pruned.embed.weight
