import numpy as np
import pytest
import torch
from torch import nn

from reprune.data.model_io import call
from reprune.errors import InputError
from reprune.planning.sensitivity.analyze import analyze_sensitivity
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.prune import cut


class TwoBranches(nn.Module):
    """The sum of two small networks, one of which hardly counts."""

    def __init__(self):
        super().__init__()
        self.matters = nn.Linear(3, 16)
        self.idle = nn.Linear(3, 16)
        self.out = nn.Linear(16, 2)
        self.out_idle = nn.Linear(16, 2)
        with torch.no_grad():
            self.out_idle.weight.mul_(1e-4)

    def forward(self, x):
        return self.out(self.matters(x).relu()) + self.out_idle(self.idle(x).relu())


def squared(outputs, targets):
    return (outputs - targets).square().mean(1)


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    model = TwoBranches()
    x = torch.randn(600, 3)
    targets = model(x).detach() + 0.3 * torch.randn(600, 2)
    batches = list(zip(x.split(100), targets.split(100), strict=True))
    return model, analyze(model, x[:2]), batches


@pytest.fixture(scope="module")
def analyzed(parts):
    model, analysis, batches = parts
    shares = []
    model.train()
    result = analyze_sensitivity(model, analysis, batches, squared, criterion="l1", progress=shares.append)
    assert model.training
    return result, shares


def exhaustive(model, analysis, batches, keep):
    """Return the rise of each example's loss after really cutting."""
    smaller = cut(model, analysis, keep)[0].eval()
    with torch.no_grad():
        return np.concatenate([squared(call(smaller, x), y) - squared(model(x), y) for x, y in batches])


def best(model, analysis, name, width):
    return score(model, analysis, "l1")[name].argsort(descending=True, stable=True)[:width].tolist()


def test_what_matters_costs_loss_and_what_is_idle_does_not(analyzed):
    result, _ = analyzed
    assert result.examples == 600
    assert result.curves["matters"].loss(2) > 1000 * abs(result.curves["idle"].loss(2))
    assert result.curves["matters"].loss(16) == 0
    assert [p.width for p in result.curves["matters"].points] == [2, 3, 5, 6, 8, 10, 11, 13, 14]


def test_intervals_hold_what_cutting_and_running_everything_gives(parts, analyzed):
    model, analysis, batches = parts
    held = []
    for name, curve in analyzed[0].curves.items():
        for point in curve.points:
            truth = exhaustive(model, analysis, batches, {name: best(model, analysis, name, point.width)}).mean()
            held.append(point.interval[0] - 1e-6 <= truth <= point.interval[1] + 1e-6)
    assert sum(held) >= 0.8 * len(held)


def test_little_is_run_where_little_is_to_be_gained(analyzed):
    result, _ = analyzed
    assert sum(point.examples > 0 for point in result.curves["idle"].points) < 9
    assert 5 * result.layer_evaluations < result.exhaustive_layer_evaluations
    assert max(point.examples for curve in result.curves.values() for point in curve.points) <= 160


def test_given_widths_are_all_measured(parts):
    model, analysis, batches = parts
    result = analyze_sensitivity(
        model, analysis, batches, squared, criterion="l1", widths={"idle": [4, 12], "matters": [8]}
    )
    assert [(p.width, p.examples > 0) for p in result.curves["idle"].points] == [(4, True), (12, True)]
    assert [p.width for p in result.curves["matters"].points] == [8]


def test_when_every_example_is_drawn_the_answer_is_exact(parts):
    model, analysis, batches = parts
    few = [(batches[0][0][:8], batches[0][1][:8])]
    result = analyze_sensitivity(model, analysis, few, squared, criterion="l1", widths={"matters": [4]})
    (point,) = result.curves["matters"].points
    truth = exhaustive(model, analysis, few, {"matters": best(model, analysis, "matters", 4)})
    assert point.loss_increase == pytest.approx(truth.mean(), rel=1e-4)
    assert point.standard_error == pytest.approx(truth.std(ddof=1) / 8**0.5, rel=1e-4)
    assert point.interval == (point.loss_increase, point.loss_increase)


def test_progress_is_told_up_to_the_end(analyzed):
    shares = analyzed[1]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_it_survives_json(analyzed):
    again = Sensitivity.model_validate_json(analyzed[0].model_dump_json())
    assert again == analyzed[0]
    np.testing.assert_array_equal(again.losses("matters", [1, 4, 8]), analyzed[0].losses("matters", [1, 4, 8]))


@pytest.mark.parametrize("batches", [[], [(torch.zeros(1, 3), torch.zeros(1, 2))]])
def test_too_few_examples_for_an_error_bar_are_refused(parts, batches):
    with pytest.raises(InputError, match="error bar"):
        analyze_sensitivity(parts[0], parts[1], batches, squared)
