import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reprune.errors import PruningError
from reprune.pruning import masks
from reprune.pruning.iterative import sparsity_schedules


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))


def data(seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 8, generator=generator)
    return inputs, torch.stack([inputs[:, 0] * inputs[:, 1], inputs[:, 2]], 1)


def train(model, optimizer, steps, after=lambda: None):
    inputs, targets = data()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
        after()
    return float(loss.detach())


@given(st.floats(0, 0.99), st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_sparsity_only_rises_and_ends_where_it_should(sparsity, moments):
    early, late = sorted(moments)
    assert sparsity_schedules.cubic(0.0, sparsity) == 0
    assert sparsity_schedules.cubic(1.0, sparsity) == sparsity
    assert sparsity_schedules.cubic(early, sparsity) <= sparsity_schedules.cubic(late, sparsity) <= sparsity


class StraightThrough(torch.autograd.Function):
    """Movement pruning as its paper writes it: the forward pass is masked, and the scores learn through the mask."""

    @staticmethod
    def forward(ctx, scores, mask):
        return mask

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def test_movement_is_what_the_paper_defines():
    model, steps, rate = network(), 40, 0.05
    reference = network()
    weights = [reference[0].weight, reference[2].weight]
    scores = [torch.zeros_like(weight, requires_grad=True) for weight in weights]
    kept = [torch.ones_like(weight) for weight in weights]
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    inputs, targets = data()
    with sparsity_schedules.gradual(model, optimizer, sparsity=0.6, steps=steps) as pruning:
        for step in range(1, steps + 1):
            train(model, optimizer, 1)
            used = [w * StraightThrough.apply(s, m) for w, s, m in zip(weights, scores, kept, strict=True)]
            hidden = torch.tanh(inputs @ used[0].T + reference[0].bias)
            loss = ((hidden @ used[1].T + reference[2].bias) - targets).square().mean()
            leaves = [*weights, reference[0].bias, reference[2].bias]
            found = torch.autograd.grad(loss, [*leaves, *scores])
            with torch.no_grad():
                for leaf, gradient in zip(leaves, found[: len(leaves)], strict=True):
                    leaf -= rate * gradient
                for score, gradient in zip(scores, found[len(leaves) :], strict=True):
                    score -= gradient
            ranked = masks.unstructured(
                dict(zip("ab", scores, strict=True)), sparsity_schedules.cubic(step / steps, 0.6)
            )
            kept = [ranked["a"].float(), ranked["b"].float()]
    assert torch.equal(pruning.masks["0.weight"], kept[0].bool())
    assert torch.allclose(model[0].weight, weights[0] * kept[0], atol=1e-6)
    assert torch.allclose(model[2].weight, weights[1] * kept[1], atol=1e-6)


@pytest.mark.parametrize("criterion", ["movement", "magnitude"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_it_ends_at_the_sparsity_and_still_learns(criterion, optimizer):
    model = network()
    untrained = train(network(), torch.optim.SGD(network().parameters(), lr=0.0), 1)
    stepper = optimizer(model.parameters(), lr=0.02)
    with sparsity_schedules.gradual(model, stepper, sparsity=0.5, steps=300, criterion=criterion) as pruning:
        loss = train(model, stepper, 300)
    assert masks.sparsity(pruning.masks) == pytest.approx(0.5, abs=0.01)
    assert all((weight[~pruning.masks[name]] == 0).all() for name, weight in masks.weights_of(model).items())
    assert loss < untrained / 3


def test_a_removed_weight_keeps_its_value_and_can_come_back():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    returned, removed = [], {}

    def watch():
        for name, mask in pruning.masks.items():
            before = removed.get(name)
            if before is not None:
                back = mask & ~before[0]
                returned.append(int(back.sum()))
                stayed_out = ~mask & ~before[0]
                assert torch.equal(pruning.dense[name][stayed_out], before[1][stayed_out])
            removed[name] = (mask.clone(), pruning.dense[name].clone())

    with sparsity_schedules.gradual(model, optimizer, sparsity=0.7, steps=100) as pruning:
        train(model, optimizer, 100, watch)
    assert sum(returned) > 0


def test_a_checkpoint_goes_on_as_if_nothing_had_happened():
    def half(model, state=None):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with sparsity_schedules.gradual(model, optimizer, sparsity=0.7, steps=60) as pruning:
            if state:
                pruning.load_state_dict(state)
            train(model, optimizer, 30)
        return {name: tensor.clone() for name, tensor in pruning.state_dict().items()}

    whole, broken, fresh = network(), network(), network(seed=5)
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.1)
    with sparsity_schedules.gradual(whole, optimizer, sparsity=0.7, steps=60):
        train(whole, optimizer, 60)
    state = half(broken)
    fresh.load_state_dict(broken.state_dict())
    half(fresh, state)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), fresh.parameters(), strict=True))


def test_a_lottery_ticket_is_sparse_rewound_and_trains():
    model = network()
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sparsities = []

    def training(model, kept):
        sparsities.append(masks.sparsity(kept))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        with masks.held(model, optimizer, kept):
            return train(model, optimizer, 150)

    kept = sparsity_schedules.lottery_ticket(model, training, sparsity=0.75, rounds=2)
    assert sparsities == pytest.approx([0, 0.5], abs=0.01)
    assert masks.sparsity(kept) == pytest.approx(0.75, abs=0.01)
    for name, weight in masks.weights_of(model).items():
        assert torch.equal(weight, initial[name] * kept[name])
    before = train(model, torch.optim.SGD(model.parameters(), lr=0.0), 1)
    assert training(model, kept) < before / 2


def test_a_ticket_rewinds_to_an_early_checkpoint_and_never_revives_a_weight():
    model = network()
    train(model, torch.optim.Adam(model.parameters(), lr=0.01), 10)
    early = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, torch.optim.Adam(model.parameters(), lr=0.01), 50)
    seen = []

    def training(model, kept):
        seen.append(kept)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with masks.held(model, optimizer, kept):
            train(model, optimizer, 10)

    kept = sparsity_schedules.lottery_ticket(model, training, sparsity=0.9, rounds=3, early=early, names=["0.weight"])
    assert list(kept) == ["0.weight"]
    assert torch.equal(model[2].weight, early["2.weight"])
    for earlier, later in zip(seen, [*seen[1:], kept], strict=True):
        assert not (later["0.weight"] & ~earlier["0.weight"]).any()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda model, opt: sparsity_schedules.gradual(model, opt, sparsity=1.0, steps=10).__enter__(),
            r"1.0 is not in \[0, 1\)",
        ),
        (lambda model, opt: sparsity_schedules.gradual(model, opt, sparsity=0.5, steps=0).__enter__(), "0 steps"),
        (
            lambda model, opt: sparsity_schedules.gradual(model, opt, sparsity=0.5, steps=1, names=["no"]).__enter__(),
            "'no'",
        ),
        (lambda model, opt: sparsity_schedules.lottery_ticket(model, print, sparsity=0.5, rounds=0), "0 rounds"),
        (lambda model, opt: sparsity_schedules.lottery_ticket(model, print, sparsity=-1, rounds=1), "-1"),
        (
            lambda model, opt: sparsity_schedules.lottery_ticket(
                model, print, sparsity=0.5, rounds=1, early={"x": torch.ones(1)}
            ),
            "differs",
        ),
    ],
)
def test_bad_input_is_refused_and_leaves_the_model(call, told):
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(PruningError, match=told):
        call(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
