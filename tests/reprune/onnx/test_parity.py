import copy
import math

import pytest
import torch
from torch import nn

from reprune.errors import InputError
from reprune.inference.onnx.export import export
from reprune.inference.onnx.parity import Parity, compare


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    path = tmp_path_factory.mktemp("parity") / "model.onnx"
    export(model, torch.randn(2, 6), path)
    return model, path


def test_a_true_export_agrees(exported):
    model, path = exported
    parity = compare(model, path, [torch.randn(5, 6), torch.randn(3, 6)])
    assert parity.examples == 8
    assert parity.argmax_agreement == 1.0
    assert 0 <= parity.mean_abs_error <= parity.max_abs_error < 1e-5 < parity.output_scale


def test_another_models_file_shows_the_size_of_the_difference(exported):
    model, path = exported
    shifted = copy.deepcopy(model)
    with torch.no_grad():
        shifted[2].bias += torch.tensor([0.0, 0.0, 0.0, 100.0])
    parity = compare(shifted, path, [torch.randn(64, 6)])
    assert parity.max_abs_error == pytest.approx(100, rel=1e-4)
    assert parity.mean_abs_error == pytest.approx(25, rel=1e-4)
    assert parity.argmax_agreement < 1


def test_nan_on_one_side_is_never_parity(exported):
    model, path = exported
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken[2].bias[0] = float("nan")
    parity = compare(broken, path, [torch.randn(2, 6), torch.randn(2, 6)])
    assert math.isnan(parity.max_abs_error)
    assert math.isnan(Parity.model_validate_json(parity.model_dump_json()).max_abs_error)


def test_a_single_output_column_has_no_argmax(tmp_path):
    model = nn.Linear(3, 1)
    export(model, torch.randn(2, 3), tmp_path / "model.onnx")
    assert compare(model, tmp_path / "model.onnx", [torch.randn(2, 3)]).argmax_agreement is None


def test_outputs_of_another_shape_are_refused(exported):
    _, path = exported
    with pytest.raises(InputError, match=r"\(2, 4\).*\(2, 5\)"):
        compare(nn.Linear(6, 5), path, [torch.randn(2, 6)])


def test_no_examples_is_an_error(exported):
    with pytest.raises(InputError, match="no examples"):
        compare(*exported, [])
