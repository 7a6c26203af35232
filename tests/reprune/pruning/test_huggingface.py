"""Architectures of the ``transformers`` package, cut and used in every way a user would."""

from importlib.util import find_spec

import pytest
import torch

if find_spec("transformers") is None:
    pytest.skip("needs the transformers package", allow_module_level=True)

from reprune.pruning.graph.analyze import analyze
from reprune.pruning.graph.capture import as_call  # noqa: E402
from reprune.pruning.prune import prune
from reprune.pruning.surgery import replay  # noqa: E402
from tests.reprune.pruning.helpers import assert_close, outputs, randomize  # noqa: E402
from tests.reprune.pruning.zoo.huggingface import MODELS  # noqa: E402

QUICK = ["gpt2", "mixtral", "t5"]
"""Few enough for every run of the suite, and unlike one another: packed, grouped and cross attention, experts."""
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MODELS]


def build(name, seed=0):
    torch.manual_seed(seed)
    model, inputs = MODELS[name]()
    return randomize(model, seed).eval(), inputs


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_model_is_smaller_and_works_in_every_way(name):
    use_in_every_way(name, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.25, 0.75])
@pytest.mark.parametrize("name", MODELS)
def test_a_cut_model_works_at_other_ratios(name, ratio):
    use_in_every_way(name, ratio)


def use_in_every_way(name, ratio):
    model, inputs = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned, recipe = prune(model, inputs, ratio=ratio)

    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    if ratio == 0.5:
        assert count(pruned) < 0.6 * count(model)
    assert count(pruned) < count(model)
    assert_close(outputs(pruned, inputs), outputs(replay(model, recipe), inputs), 0)
    other, _ = build(name, seed=1)
    assert count(replay(other, recipe)) == count(pruned)
    assert tied(pruned) == tied(model)

    learns(pruned, inputs)
    again, second = prune(pruned, inputs, ratio=0.3)
    assert_close(outputs(again, inputs), outputs(replay(pruned, second), inputs), 0)
    args, kwargs = as_call(inputs)
    torch.export.export(again.eval(), args, kwargs, strict=False)


def tied(model):
    """Return the sets of names that stand for one parameter."""
    names = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [each for each in names.values() if len(each) > 1]


def learns(model, inputs):
    """Take one optimizer step in training mode."""
    args, kwargs = as_call(inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    leaves = torch.utils._pytree.tree_leaves(model.train()(*args, **kwargs))
    loss = sum(x.square().mean() for x in leaves if isinstance(x, torch.Tensor) and x.is_floating_point())
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_cut_model_exports_to_onnx(name, tmp_path):
    import onnxruntime

    model, inputs = build(name)
    pruned, _ = prune(model, inputs, ratio=0.5)
    args, kwargs = as_call(inputs)
    path = tmp_path / "model.onnx"
    try:
        torch.onnx.export(pruned.eval(), args, path, kwargs=kwargs, dynamo=True, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        with pytest.raises(torch.onnx.OnnxExporterError):
            torch.onnx.export(model.eval(), args, path, kwargs=kwargs, dynamo=True, verbose=False)
        pytest.skip(f"the dense model cannot be exported to ONNX either: {str(error).splitlines()[0]}")
    session = onnxruntime.InferenceSession(path)
    values = [x.numpy() for x in torch.utils._pytree.tree_leaves((args, kwargs))]
    found = session.run(None, {i.name: value for i, value in zip(session.get_inputs(), values, strict=True)})
    assert_close(outputs(pruned, inputs), [torch.from_numpy(x) for x in found], 1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in MODELS if name != "llama"] + ["llama"]
)
def test_bfloat16_and_no_grad(name):
    model, inputs = build(name)
    inputs = torch.utils._pytree.tree_map(lambda x: x.bfloat16() if x.is_floating_point() else x, inputs)
    with torch.no_grad():
        pruned, _ = prune(model.bfloat16(), inputs, ratio=0.5)
    assert count(pruned) < count(model)
    assert all(parameter.dtype == torch.bfloat16 and parameter.requires_grad for parameter in pruned.parameters())


def test_every_layer_has_its_own_groups():
    import transformers

    def groups(layers):
        sizes = {"num_hidden_layers": layers, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 40}
        model = transformers.BertModel(transformers.BertConfig(vocab_size=60, **sizes))
        return analyze(model, torch.randint(0, 60, (2, 7))).groups

    assert len(groups(12)) - len(groups(4)) == 8 * 2
