"""Tensors as long as a mask of the inputs is true: what is not looked up by the mask can be cut all the same."""

import pytest
import torch
from torch import nn

from reprune.pruning.graph.analyze import analyze
from reprune.pruning.prune import cut
from tests.reprune.pruning.helpers import assert_close, outputs, zeroed


class Masked(nn.Module):
    def __init__(self, select):
        super().__init__()
        self.a, self.b, self.c, self.select = nn.Linear(8, 16), nn.Linear(16, 12), nn.Linear(12, 3), select

    def forward(self, x, mask):
        return self.c(self.b(self.select(self.a(x), mask)).relu())


SELECTIONS = {
    "tokens of all": lambda y, mask: y[mask],
    "tokens of each": lambda y, mask: y[mask].reshape(len(y), -1, y.shape[-1]),
    "places": lambda y, mask: y[:, mask[0].nonzero()[:, 0]],
    "counted": lambda y, mask: y[mask] * mask.sum() / y[mask].shape[0],
}
MASK = torch.tensor([[1, 1, 0, 0, 1, 0], [0, 1, 1, 1, 0, 0]]).bool()


@pytest.mark.parametrize("selection", SELECTIONS)
def test_channels_of_what_a_mask_selects_can_be_cut(selection):
    torch.manual_seed(0)
    model, inputs = Masked(SELECTIONS[selection]), (torch.randn(2, 6, 8), MASK)
    analysis = analyze(model, inputs)
    assert {group.name: group.width for group in analysis.groups} == {"a": 16, "b": 12}
    assert "b" in repr(analysis)
    keep = {"a": range(3, 9), "b": range(5)}
    pruned, _ = cut(model, analysis, keep)
    assert_close(outputs(zeroed(model, analysis, keep), inputs), outputs(pruned, inputs))
    fewer = inputs[0], MASK.roll(1, 1)
    assert_close(outputs(zeroed(model, analysis, keep), fewer), outputs(pruned, fewer))


def test_channels_that_a_mask_selects_stay_whole():
    model = Masked(lambda y, mask: y.transpose(1, 2)[:, y.mean((0, 1)) > y.mean()].transpose(1, 2).mean(2, True) + y)
    groups = {group.name for group in analyze(model, (torch.randn(2, 6, 8), MASK)).groups}
    assert groups == {"b"}
