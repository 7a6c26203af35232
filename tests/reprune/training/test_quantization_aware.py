import copy
from dataclasses import replace

import onnx
import pytest
import torch
from onnx.numpy_helper import to_array
from torch import nn

from reprune.inference.onnx.export import export
from reprune.inference.onnx.quantize import Quantizer
from reprune.training.qat import Rounding, round_activation, round_weight, rounded
from reprune.training.trainer import Settings
from tests.reprune.training.helpers import Noisy, assert_same, checkpoints, network, problem, train


@pytest.mark.parametrize(("reduced", "levels"), [(False, 127), (True, 64)])
def test_weights_and_inputs_are_rounded_as_in_the_quantized_file(tmp_path, reduced, levels):
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(2, 5, 3), nn.Linear(5 * 16, 3)
    images = torch.rand(8, 2, 6, 6) * 3 - 1
    export(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), linear), images, tmp_path / "float.onnx")
    quantizer = Quantizer(tmp_path / "float.onnx", reduced=reduced)
    quantizer.calibrate([images])
    graph = onnx.load(quantizer.write(tmp_path / "int8.onnx")).graph
    held = {item.name: torch.from_numpy(to_array(item).copy()) for item in graph.initializer}
    for name, weight in (("0.weight", conv.weight), ("3.weight", linear.weight)):
        stored, scale = held[f"{name}_quantized"].float(), held[f"{name}_scale"]
        assert torch.allclose(stored * scale.view(-1, *[1] * (weight.dim() - 1)), round_weight(weight, levels))
    scale, zero = held["input_scale"], held["input_zero_point"].float()
    expected = ((images / scale).round() + zero).clamp(0, 255).sub(zero) * scale
    assert torch.allclose(round_activation(images), expected)


class Plain(nn.Module):
    """Layers that eight bits are not made for, and a statistic that is updated in place."""

    def __init__(self):
        super().__init__()
        self.up, self.recurrent = nn.ConvTranspose1d(3, 4, 2), nn.GRU(4, 4, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        y = self.up(x).transpose(1, 2)
        self.mean.mul_(0.9).add_(0.1 * y.detach().mean())
        return self.norm(self.recurrent(y)[0])


def test_what_eight_bits_are_not_made_for_stays_as_it_is():
    torch.manual_seed(0)
    model, x = Plain(), torch.randn(2, 3, 7)
    expected = copy.deepcopy(model)(x)
    with rounded(model, Rounding(chained=False)):
        assert torch.equal(model(x), expected)


def test_a_model_rounds_while_it_is_asked_to_and_its_copies_too():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Conv1d(3, 1, 2)), torch.randn(4, 2, 9)
    names, expected = list(model.state_dict()), model(x)
    with rounded(model, Rounding()):
        within = model(x)
        assert not torch.equal(within, expected) and torch.equal(copy.deepcopy(model)(x), within)
        assert torch.equal(torch.add(x, x), 2 * x)  # the model alone, not what is beside it
        with pytest.raises(RuntimeError):
            model(torch.randn(4, 5, 9))
        assert torch.equal(torch.add(x, x), 2 * x) and torch.equal(model(x), within)
    assert torch.equal(model(x), expected) and list(model.state_dict()) == names


def test_gradients_pass_through_and_statistics_of_norms_stay():
    model, x = network(dropout=0.0), torch.randn(8, 5)
    before = copy.deepcopy(model[1].state_dict())
    with rounded(model, Rounding()):
        model.train()(x).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert all(torch.equal(value, model[1].state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize("values", [[], [float("nan"), 1.0], [float("inf"), 0.0], [0.0, 0.0]])
def test_odd_activations_are_no_error(values):
    model = nn.Conv1d(1, 1, 1)
    with rounded(model, Rounding()):
        assert model(torch.tensor(values).reshape(-1, 1, 1)).shape == (len(values), 1, 1)


def test_a_training_under_rounding_that_is_taken_up_ends_in_the_same_weights(tmp_path):
    settings = Settings(epochs=3, learning_rate=0.05, ema=0.9, rounding=Rounding(levels=3))
    whole, resumed, plain = network(), network(), network()
    train(whole, settings, data=Noisy(problem()))

    def kill(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), settings, data=Noisy(problem()), checkpoints=checkpoints(tmp_path), on_epoch=kill)
    train(resumed, settings, data=Noisy(problem()), checkpoints=checkpoints(tmp_path))
    assert_same(whole, resumed)
    train(plain, replace(settings, rounding=None), data=Noisy(problem()))
    assert not torch.equal(plain[0].weight, whole[0].weight)
