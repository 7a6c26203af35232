import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprune.planning.sensitivity.analyze import analyze_sensitivity
from reprune.planning.sensitivity.curve_cache import Memory, Reference
from reprune.pruning.graph.analyze import analyze
from reprune.storage.uri import open_store


class Layers(nn.Sequential):
    """Four groups of neurons."""

    def __init__(self):
        super().__init__(*(x for _ in range(4) for x in (nn.Linear(12, 12), nn.ReLU())), nn.Linear(12, 4))


def cross_entropy(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    model = Layers()
    x = torch.randn(400, 12)
    targets = x[:, :4].argmax(1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(model(x[200:]), targets[200:]).backward()
        optimizer.step()
    return model, analyze(model, x[:2]), [(x[:200], targets[:200])]


@pytest.fixture
def measure(parts, tmp_path):
    _, analysis, batches = parts

    def measure(model, batches=batches):
        memory = Memory(open_store(str(tmp_path)), "layers")
        return analyze_sensitivity(model, analysis, batches, cross_entropy, criterion="l2", memory=memory)

    return measure


def test_the_same_model_is_not_measured_again(parts, measure):
    first, again = measure(parts[0]), measure(parts[0])
    assert first.reused == ()
    assert set(again.reused) == set(first.curves)
    assert again.curves == first.curves
    assert again.layer_evaluations == 0


def test_after_a_little_training_only_what_moved_is_measured(parts, measure):
    first = measure(parts[0])
    tuned = copy.deepcopy(parts[0])
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.mul_(1 + 1e-4 * torch.randn_like(parameter))
        tuned[2].weight.copy_(tuned[2].weight.flip(0))  # other cells of the second layer matter now
        tuned[2].bias.copy_(tuned[2].bias.flip(0))
        tuned[4].weight.copy_(tuned[4].weight.flip(1))
    again = measure(tuned)
    assert set(first.curves) - set(again.reused) == {"2"}
    assert again.curves["0"] == first.curves["0"]
    assert again.layer_evaluations < first.layer_evaluations


def test_other_examples_are_measured_on_anew(parts, measure):
    measure(parts[0])
    ((x, targets),) = parts[2]
    assert measure(parts[0], [(x.flip(1), targets)]).reused == ()


def test_what_was_measured_last_time_is_the_reference_for_what_moves_slowly(parts, measure):
    measure(parts[0])
    slowly = copy.deepcopy(parts[0])
    reused = []
    for _ in range(6):
        with torch.no_grad():
            slowly[8].weight.mul_(1.12)  # the last layer's information grows by little each time
        reused.append(set(measure(slowly).reused))
    assert "6" in reused[0]
    assert not all("6" in each for each in reused)


@pytest.mark.parametrize(
    ("order", "fisher", "moved"),
    [
        ((0, 1, 2, 3), (8.0, 4.0, 2.0, 1.0), False),
        ((1, 0, 2, 3), (8.0, 4.0, 2.0, 1.0), True),  # other cells go, and they carry more
        ((0, 1, 2, 3), (9.0, 5.0, 2.2, 1.1), False),
        ((0, 1, 2, 3), (8.0, 4.0, 2.0, 1.7), True),
        ((0, 1, 2), (8.0, 4.0, 2.0), True),
    ],
)
def test_a_group_moves_with_its_cut_and_with_its_scale(order, fisher, moved):
    assert Reference(order=(0, 1, 2, 3), fisher=(8.0, 4.0, 2.0, 1.0)).moved(order, fisher, [1, 3]) == moved
