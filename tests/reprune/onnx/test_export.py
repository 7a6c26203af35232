import hashlib
import logging

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from reprune.config.target import Target
from reprune.data.model_io import feed, named_outputs
from reprune.errors import InputError
from reprune.inference.onnx.export import export
from reprune.inference.session import open_session


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, mask, ids):
        hidden = self.embed(ids) * mask[..., None]
        return {"logits": self.head(hidden).mean(1), "hidden": (hidden, None, hidden * 2)}


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b, a - b


class DataDependent(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class FixedBatch(nn.Module):
    def forward(self, x):
        return x.reshape(2, 3)


def test_runs_in_onnxruntime_at_any_batch_size_and_equals_torch(tmp_path):
    model = small_net()
    result = export(model, torch.randn(1, 1, 8, 8), tmp_path / "model.onnx")
    assert (result.input_names, result.output_names) == (("input",), ("output",))
    session = open_session(tmp_path / "model.onnx", Target())
    for batch_size in (1, 2, 7):
        x = torch.randn(batch_size, 1, 8, 8)
        (actual,) = session.run(None, feed(x))
        np.testing.assert_allclose(actual, model.eval()(x).detach().numpy(), atol=1e-5)


def test_size_and_digest_are_those_of_the_file_which_holds_its_weights(tmp_path):
    path = tmp_path / "folder" / "model.onnx"
    result = export(small_net(), torch.randn(2, 1, 8, 8), path)
    assert result.size_bytes == path.stat().st_size > 512 * 10 * 4
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_the_same_model_gives_the_same_bytes(tmp_path):
    digests = {export(small_net(), torch.randn(2, 1, 8, 8), tmp_path / f"{i}.onnx").sha256 for i in range(2)}
    assert len(digests) == 1


def test_weights_keep_their_names_and_no_source_path_leaks(tmp_path):
    export(small_net(), torch.randn(2, 1, 8, 8), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert {"4.weight", "4.bias"} <= {weight.name for weight in graph.initializer}
    assert __file__.encode() not in (tmp_path / "model.onnx").read_bytes()
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_model_handed_in_is_left_in_training_mode_and_unchanged(tmp_path):
    model = small_net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, torch.randn(2, 1, 8, 8), tmp_path / "model.onnx")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_dict_inputs_keep_their_keys_and_dict_outputs_are_flattened(tmp_path):
    model = TwoInputs()
    inputs = {"ids": torch.randint(0, 10, (3, 5)), "mask": torch.rand(3, 5)}  # not in forward's order
    result = export(model, inputs, tmp_path / "model.onnx")
    assert result.input_names == ("ids", "mask")
    assert result.output_names == ("logits", "hidden_0", "hidden_2")
    actual = open_session(tmp_path / "model.onnx", Target()).run(None, feed(inputs))
    expected = named_outputs(model(**inputs))
    for name, value in zip(result.output_names, actual, strict=True):
        np.testing.assert_allclose(value, expected[name].detach().numpy(), atol=1e-6)


def test_tuple_inputs_and_outputs_are_numbered(tmp_path):
    result = export(Sum(), (torch.ones(1, 3), torch.ones(1, 3)), tmp_path / "model.onnx")
    assert result.input_names == ("input_0", "input_1")
    assert result.output_names == ("output_0", "output_1")
    feeds = {"input_0": np.full((4, 3), 5, np.float32), "input_1": np.full((4, 3), 2, np.float32)}
    total, difference = open_session(tmp_path / "model.onnx", Target()).run(None, feeds)
    assert (total[0, 0], difference[0, 0], len(total)) == (7, 3, 4)


def test_opset_is_obeyed(tmp_path):
    export(small_net(), torch.randn(2, 1, 8, 8), tmp_path / "model.onnx", opset=18)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 18


@pytest.mark.parametrize("model", [DataDependent(), FixedBatch()], ids=["data-dependent", "fixed batch"])
def test_a_model_torch_cannot_capture_is_named_and_nothing_is_written(tmp_path, model):
    with pytest.raises(InputError, match=type(model).__name__):
        export(model, torch.randn(2, 3), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_an_input_that_is_no_tensor_is_named(tmp_path):
    with pytest.raises(InputError, match="'mask' is a NoneType"):
        export(TwoInputs(), {"ids": torch.zeros(1, 2), "mask": None}, tmp_path / "model.onnx")


def test_the_exporters_chatter_goes_to_the_log(tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG, logger="reprune.inference.onnx.export")
    export(small_net(), torch.randn(2, 1, 8, 8), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert {record.name for record in caplog.records} == {"reprune.inference.onnx.export"}
