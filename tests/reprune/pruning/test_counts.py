"""Counts against torch's own counter, which runs the model."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reprune.pruning.graph.analyze import analyze
from reprune.pruning.graph.capture import as_call, evaluating
from reprune.pruning.graph.counts import counts
from reprune.pruning.prune import prune
from tests.reprune.pruning.zoo import ZOO

APART = {"broadcast_outer": 0.01}
"""torch computes an outer product, which the graph calls a matrix product, by multiplying: a share of the whole."""


def counted(model, inputs):
    args, kwargs = as_call(inputs)
    with (
        FlopCounterMode(display=False) as counter,
        evaluating(model),
        torch.backends.mkldnn.flags(enabled=False),  # its recurrent layers are not counted
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        model(*args, **kwargs)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["resnet", "unet", "llama", "lstm", "transformer_encoder"])
def test_a_model_and_what_is_left_of_it(name):
    agree(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_every_model_and_what_is_left_of_it(name):
    agree(name)


def agree(name):
    torch.manual_seed(0)
    model, inputs = ZOO[name]()
    pruned, _ = prune(model, inputs, ratio=0.5)
    for each in (model, pruned):
        found = counts(analyze(each, inputs))
        assert found.macs == pytest.approx(counted(each, inputs), rel=APART.get(name, 0))
        assert found.parameters == sum(parameter.numel() for parameter in each.parameters())


def test_shares_are_of_slices():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2, bias=False))
    found = counts(analyze(model, torch.randn(3, 4)))
    assert (found.parameters, found.macs) == (48, 144)
    assert found.parameters_of == found.macs_of == {"0": 1.0}
    assert found.prunable == 1.0
