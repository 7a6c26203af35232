"""Each criterion against its definition, worked out by hand or the slow way."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprune.errors import InputError
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import CRITERIA, NEED_DATA, mean_normalized, score


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()


def batches(count=3):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(6, 4, generator=generator, dtype=torch.float64), torch.randint(0, 3, (6,), generator=generator))
        for _ in range(count)
    ]


def scored(criterion, model=None, data=None):
    model = model or network()
    return score(model, analyze(model, torch.randn(2, 4, dtype=torch.float64)), criterion, data or batches())["0"]


def test_magnitudes():
    model = network()
    rows = torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach()
    torch.testing.assert_close(scored("l1"), rows.abs().sum(1))
    torch.testing.assert_close(scored("l2"), rows.norm(dim=1))
    torch.testing.assert_close(scored("geometric_median"), torch.cdist(rows, rows).sum(1))
    squares = rows.square().sum(1)
    torch.testing.assert_close(scored("lamp"), torch.stack([s / squares[squares >= s].sum() for s in squares]))


def gate_gradients(x, y):
    """Differentiate the loss by a gate on each neuron."""
    model, gate = network(), torch.ones(5, dtype=torch.float64, requires_grad=True)
    loss = F.cross_entropy(model[2](gate * model[1](model[0](x))), y)
    return torch.autograd.grad(loss, gate)[0]


def test_gates_are_what_the_weights_say_they_are():
    gates = torch.stack([gate_gradients(x, y) for x, y in batches()])
    torch.testing.assert_close(scored("fisher"), gates.square().mean(0))
    torch.testing.assert_close(scored("head_importance"), gates.abs().mean(0))
    torch.testing.assert_close(scored("taylor_activation"), gates.abs().mean(0))


def test_gradients():
    model, expected = network(), torch.zeros(3, 5, dtype=torch.float64)
    for x, y in batches():
        weight, bias = model[0].weight, model[0].bias
        gw, gb = torch.autograd.grad(F.cross_entropy(model(x), y), [weight, bias])
        products = (weight * gw).sum(1) + bias * gb
        expected += torch.stack([products.abs(), -products, gw.abs().sum(1) + gb.abs()]).detach() / 3
    torch.testing.assert_close(scored("taylor"), expected[0])
    torch.testing.assert_close(scored("movement"), expected[1])
    torch.testing.assert_close(scored("gradient"), expected[2])


def test_wanda_weighs_by_the_activations_that_are_read():
    model = network()
    activations = torch.cat([model[1](model[0](x)) for x, _ in batches()]).detach()
    torch.testing.assert_close(scored("wanda"), model[2].weight.detach().abs().sum(0) * activations.norm(dim=0))


def test_batch_norm_scale():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2))
    model[1].weight.data = torch.tensor([0.1, -3.0, 0.0, 2.0])
    found = score(model, analyze(model, torch.randn(2, 1, 3, 3)), "batch_norm_scale")["0"]
    torch.testing.assert_close(found, torch.tensor([0.1, 3.0, 0.0, 2.0]).double())


def test_random_follows_its_seed():
    model = network()
    analysis = analyze(model, torch.randn(2, 4, dtype=torch.float64))
    first, again, other = (score(model, analysis, "random", seed=seed)["0"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scoring_leaves_no_trace(criterion):
    model = network().train()
    analysis = analyze(model, torch.randn(2, 4, dtype=torch.float64))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    score(model, analysis, criterion, batches())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert model.training


@pytest.mark.parametrize("criterion", NEED_DATA)
def test_criteria_that_need_data_say_so(criterion):
    model = network()
    with pytest.raises(InputError, match="needs data"):
        score(model, analyze(model, torch.randn(2, 4, dtype=torch.float64)), criterion)


def test_a_function_is_a_criterion():
    assert scored(lambda subject: {"0": torch.arange(5)}).tolist() == [0, 1, 2, 3, 4]


def test_normalisation_makes_groups_comparable():
    found = mean_normalized({"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([100.0, 300.0])})
    torch.testing.assert_close(found["a"], found["b"])
