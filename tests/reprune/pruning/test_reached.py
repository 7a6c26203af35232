"""What was asked for is compared with what was reached, and what held it back is named."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import reprune
from reprune.errors import PruningError
from reprune.pruning import masks
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.iterative import sparsity_schedules
from reprune.pruning.shortfall import held_back, removed_share, shortfall
from tests.reprune.pruning.helpers import randomize
from tests.reprune.pruning.zoo import MORE, ZOO

SIGNAL, ROW = torch.randn(2, 4, 20), torch.randn(4, 8)


def normed():
    convolutions = [weight_norm(nn.Conv1d(4, 32, 3)), nn.ReLU(), weight_norm(nn.Conv1d(32, 32, 3)), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Conv1d(32, 3, 1))


class Sorted(nn.Module):
    """A wide part in which every channel is compared with every other, and a narrow one that can be cut."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 64), nn.Linear(64, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.c(torch.relu(self.b(self.a(x).sort(-1).values)))


def mlp(width=12):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))


def said(run):
    """Return what is warned of, as text, and the result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run()
    return [str(it.message) for it in caught if it.category is reprune.RepruneWarning], result


CASES = {
    "parametrized": (normed, SIGNAL, {"ratio": 0.5}, "removes 0.0% of the parameters.*is parametrized; call"),
    "embedding bag": (
        lambda: nn.Sequential(nn.EmbeddingBag(50, 64, mode="mean"), nn.Linear(64, 3)),
        torch.randint(0, 50, (4, 5)),
        {"ratio": 0.5},
        "aten::embedding_bag.padding_idx has no pruning rule in '0' .2 dimensions such as .*94% of the parameters",
    ),
    "mostly frozen": (Sorted, ROW, {"ratio": 0.5}, "aten::sort"),
    "ranked together": (Sorted, ROW, {"ratio": 0.5, "global_ranking": True}, "of all cells.*aten::sort"),
    "rounded": (mlp, ROW, {"ratio": 0.3, "round_to": 8}, "round_to=8, which keeps 1 group whole"),
    "widths": (mlp, ROW, {"widths": {"0": 9}, "round_to": 8}, "remove 3 cells of 1 group, and removes 0"),
    "too few cells": (mlp, ROW, {"ratio": 0.02}, "1 group with too few cells"),
    "one layer": (lambda: nn.Linear(8, 4), ROW, {"ratio": 0.5}, "reaches the model's output"),
}


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_cut_that_is_not_reached_is_told_and_what_holds_it_back(name, inplace):
    build, inputs, options, message = CASES[name]
    model = build()
    with pytest.warns(reprune.RepruneWarning, match=message):
        reprune.prune(model, inputs, **options, inplace=inplace)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_strictly_it_is_an_error_and_nothing_is_cut(name, inplace):
    build, inputs, options, message = CASES[name]
    model = build()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(PruningError, match=message) as caught:
        reprune.prune(model, inputs, **options, inplace=inplace, strict=True)
    assert caught.value.exit_code == 2
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in before.items()}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "options",
    [{"ratio": 0.5}, {"ratio": 0}, {"widths": {"0": 4}}, {"widths": {}}, {"ratio": 0.5, "global_ranking": True}],
)
def test_what_is_reached_is_not_remarked_upon(options):
    assert said(lambda: reprune.prune(mlp(), ROW, **options, strict=True))[0] == []


def test_a_warning_can_be_made_an_error_by_its_category_or_its_module():
    for rule in ({"category": reprune.RepruneWarning}, {"category": UserWarning, "module": "reprune"}):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", **rule)
            with pytest.raises(reprune.RepruneWarning):
                reprune.prune(normed(), SIGNAL, ratio=0.5)


@pytest.mark.parametrize("ratio", [0.1, 0.5])
@pytest.mark.parametrize("name", ["resnet", "regnet", "llama_tied", "lstm", "unet", "vit_packed", "tied_autoencoder"])
def test_the_share_that_goes_is_that_of_the_cut_model(name, ratio):
    model, inputs = (ZOO | MORE)[name]()
    analysis = analyze(randomize(model), inputs)
    found, (pruned, _) = said(lambda: reprune.prune(model, inputs, ratio=ratio))
    kept = {group.name: max(1, group.width - int(ratio * group.width)) for group in analysis.groups}
    before, after = (sum(parameter.numel() for parameter in each.parameters()) for each in (model, pruned))
    assert removed_share(analysis, kept) == pytest.approx(1 - after / before)
    assert bool(found) == (1 - after / before < ratio / 2)


def test_reasons_are_gathered_over_modules_and_the_first_and_last_layer_are_none():
    blocks = [nn.Sequential(nn.Linear(8, 16), nn.Softsign(), weight_norm(nn.Linear(16, 8))) for _ in range(3)]
    text = held_back(analyze(nn.Sequential(*blocks), ROW))
    assert "model's input" not in text and "is parametrized" in text


def test_planned_cells_that_did_not_go_are_told():
    analysis = analyze(mlp(), ROW)
    assert shortfall(analysis, {"0": 4}, {"0": 8}) == ""
    assert "3 of the 8 planned cells were removed" in shortfall(analysis, {"0": 4}, {"0": 9})


def test_a_gradual_pruning_and_a_ticket_are_judged_in_the_end():
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(sparsity, strict):
        with sparsity_schedules.gradual(model, optimizer, sparsity=sparsity, steps=3, ranking="row", strict=strict):
            for _ in range(3):
                model(torch.randn(2, 1)).sum().backward()
                optimizer.step()

    assert len(said(lambda: train(0.2, False))[0]) == 1
    assert said(lambda: train(0.75, False))[0] == []  # all of one layer's rows are too short: 3 of 8 weights go
    with pytest.raises(PruningError, match="0.weight"):
        train(0.2, True)
    with pytest.raises(PruningError, match="lose none"):
        sparsity_schedules.lottery_ticket(nn.Linear(2, 1), lambda *_: None, sparsity=0.4, rounds=2, strict=True)


def test_masks_that_reach_their_sparsity_are_not_remarked_upon():
    scores = {name: weight.abs() for name, weight in masks.weights_of(mlp()).items()}
    assert said(lambda: masks.unstructured(scores, 0.5, strict=True))[0] == []
