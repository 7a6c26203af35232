"""Probabilities mean what they say after scaling, in the model, in its bundle and in its ONNX file."""

import copy

import onnxruntime
import pytest
import torch
from torch import nn

from reprune.config import loading
from reprune.errors import InputError
from reprune.gate.calibration_error import expected_error
from reprune.inference.onnx.export import export
from reprune.pruning import bundle
from reprune.training import temperature_scaling

SHARPNESS = 3.0


class Calibrated(nn.Module):
    """Its logits are those that labels are drawn by, made too sharp."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 6)
        self.classifier = nn.Linear(6, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.tanh(self.hidden(x)))


class Tied(nn.Module):
    """Its last layer is its first one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.tanh(self.layer(x)))


class Softened(Calibrated):
    """It returns probabilities."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).softmax(dim=1)


@pytest.fixture(scope="module")
def sharp():
    torch.manual_seed(0)
    model = Calibrated().eval()
    with torch.no_grad():
        model.classifier.weight.mul_(4)
        batches = []
        for _ in range(2):
            x = torch.randn(3000, 6)
            batches.append([(x, torch.distributions.Categorical(logits=model(x)).sample())])
        for parameter in model.classifier.parameters():
            parameter.mul_(SHARPNESS)
    return model, *batches


def test_what_was_made_too_sure_is_put_right_and_no_prediction_changes(sharp):
    model, validation, test = sharp
    scaled = copy.deepcopy(model)
    found = temperature_scaling.scale(scaled, validation, test)
    assert found.temperature == pytest.approx(SHARPNESS, rel=0.1)
    assert found.layer == "classifier"
    assert expected_error(found.before) > 0.1 and expected_error(found.after) < 0.03
    x = test[0][0]
    torch.testing.assert_close(scaled(x), model(x) / found.temperature)
    assert (scaled(x).argmax(1) == model(x).argmax(1)).all()


def test_bundle_and_onnx_file_have_it_inside(sharp, tmp_path):
    model, validation, test = sharp
    scaled, x = copy.deepcopy(model), test[0][0]
    temperature_scaling.scale(scaled, validation, test)
    export(scaled, x[:2], tmp_path / "scaled.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "scaled.onnx")
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"input": x.numpy()})[0]), scaled(x))
    bundle.save(scaled, tmp_path / "bundle")
    torch.testing.assert_close(bundle.load(tmp_path / "bundle", allow=[__name__])(x), scaled(x), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [Tied, Softened])
def test_a_model_whose_last_layer_cannot_take_it_in_stays_as_it_is(kind, sharp):
    _, validation, test = sharp
    torch.manual_seed(0)
    model = kind().eval()
    before = copy.deepcopy(model.state_dict())
    found = temperature_scaling.scale(model, validation, test)
    assert found.temperature is None and found.layer == ""
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_only_classification_has_logits_to_scale():
    digits = loading.load("digits")
    assert digits.replace(finetune={"calibrate": True}).finetune.calibrate
    with pytest.raises(InputError, match="only classification has logits"):
        digits.replace(task="regression", finetune={"calibrate": True})
