"""Models that cannot be cut as they are: one clear error each, and what can be cut in spite of its looks."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from reprune.errors import PruningError
from reprune.pruning.prune import prune

INPUT = torch.randn(2, 6)


def plain():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def masked():
    model = plain()
    torch_prune.l1_unstructured(model[0], "weight", 0.3)
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: torch.jit.trace(plain(), INPUT), "is a ScriptModule"),
        (lambda: nn.DataParallel(plain()), "wrapped in DataParallel"),
        (lambda: torch.compile(plain()), "wrapped in OptimizedModule"),
        (lambda: nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 3)), "0.weight has no shape yet"),
        (lambda: plain().to("meta"), "0.weight is on the meta device"),
        (masked, "0.weight is computed from other tensors"),
    ],
)
def test_what_has_no_plain_tensors_is_refused(build, message):
    with pytest.raises(PruningError, match=message):
        prune(build(), INPUT, ratio=0.5)


def test_frozen_parameters_are_cut_and_stay_frozen():
    model = plain()
    model[0].requires_grad_(False)
    pruned, _ = prune(model, INPUT, ratio=0.5)
    assert pruned[0].weight.shape == (8, 6)
    assert [parameter.requires_grad for parameter in pruned.parameters()] == [False, False, True, True]


def test_hooks_go_with_the_copy():
    model, seen = plain(), []
    model[0].register_forward_hook(lambda module, args, output: seen.append(output.shape[-1]))
    pruned, _ = prune(model, INPUT, ratio=0.5)
    seen.clear()
    pruned(INPUT)
    assert seen == [8]


def test_half_precision():
    pruned, _ = prune(plain().half(), INPUT.half(), ratio=0.5)
    assert pruned[0].weight.dtype == torch.float16
    assert pruned[0].weight.shape == (8, 6)
