import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprune.errors import InputError
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.least_squares_refit import refit
from reprune.pruning.prune import cut, prune
from tests.reprune.pruning.helpers import assert_close, outputs
from tests.reprune.pruning.zoo import ZOO


def test_what_others_can_replace_is_replaced_exactly():
    """Every channel exists twice; half of them are cut; the other half take over."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3, stride=2, padding=1, bias=False)).double()
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter[4:] = parameter[:4]
    inputs = torch.randn(2, 2, 9, 9, dtype=torch.float64)
    pruned, recipe = cut(model, analyze(model, inputs), {"0": range(4)})
    batches = [torch.randn(4, 2, 9, 9, dtype=torch.float64) for _ in range(4)]
    assert refit(model, pruned, recipe, batches, damping=1e-12) == ("2.weight",)
    assert_close(outputs(model, inputs), outputs(pruned, inputs), 1e-6)


@pytest.mark.parametrize("name", ["vgg", "signal", "bare_parameters", "vit_packed", "densenet", "llama"])
def test_refitting_brings_a_cut_model_nearer_to_the_dense_one(name):
    torch.manual_seed(0)
    model, inputs = ZOO[name]()
    pruned, recipe = prune(model, inputs, ratio=0.4)
    batches = [
        torch.randint_like(inputs, 0, 40) if not inputs.is_floating_point() else torch.randn_like(inputs)
        for _ in range(30)
    ]
    before = distance(model, pruned, batches)
    names = refit(model, pruned, recipe, batches)
    assert distance(model, pruned, batches) < before if names else distance(model, pruned, batches) == before
    assert bool(names) == (name != "bare_parameters")


def distance(model, pruned, batches):
    return sum(float(F.mse_loss(outputs(pruned, x)[0], outputs(model, x)[0])) for x in batches)


def test_the_dense_model_is_left_alone_and_batches_are_needed():
    model, inputs = ZOO["vgg"]()
    pruned, recipe = prune(model, inputs, ratio=0.5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    refit(model, pruned, recipe, [inputs])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(InputError, match="at least one batch"):
        refit(model, pruned, recipe, [])
