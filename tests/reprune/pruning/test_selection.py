"""Bad input, and what a user may ask for."""

import copy

import pytest
import torch
from torch import nn

from reprune.errors import PruningError
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.prune import cut, prune
from tests.reprune.pruning.zoo import ZOO


def model():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 20, 3), nn.Flatten(), nn.Linear(320, 5))


INPUT = torch.randn(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, "ratio of 1.0 is not in"),
        ({"ratio": -0.1}, "ratio of -0.1 is not in"),
        ({}, "a ratio or widths"),
        ({"ratio": 0.5, "widths": {"0": 4}}, "a ratio or widths"),
        ({"widths": {"0": 0}}, "'0' cannot have 0 cells"),
        ({"widths": {"0": 17}}, "'0' cannot have 17 cells"),
        ({"widths": {"layer9": 4}}, "neither a group nor a module 'layer9'"),
        ({"ratio": 0.5, "round_to": 0}, "round_to is 0"),
        ({"ratio": 0.5, "criterion": "best"}, "no criterion 'best'"),
        ({"ratio": 0.5, "criterion": "taylor"}, "needs data"),
    ],
)
def test_impossible_wishes_are_refused(options, message):
    from reprune.errors import RepruneError

    with pytest.raises(RepruneError, match=message):
        prune(model(), INPUT, **options)


def test_inputs_that_the_model_refuses_are_named():
    with pytest.raises(PruningError, match="refuses its example inputs"):
        analyze(model(), torch.randn(2, 4, 8, 8))


def test_a_model_that_cannot_be_exported_says_so():
    class Data(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum().item() > 0 else x

    with pytest.raises(PruningError, match="cannot be exported"):
        analyze(Data(), torch.ones(2))


def test_outputs_that_export_does_not_know_are_told():
    class Cache:
        pass

    class Caching(nn.Linear):
        def forward(self, x):
            return super().forward(x), Cache()

    with pytest.raises(PruningError, match="Let forward return tensors"):
        analyze(Caching(2, 3), torch.ones(2, 2))


@pytest.mark.parametrize("keep", [{"0": [16]}, {"0": []}, {"0": [1, 1]}, {"zero": [1]}])
def test_impossible_cells_are_refused(keep):
    dense = model()
    with pytest.raises(PruningError):
        cut(dense, analyze(dense, INPUT), keep)


def test_widths_are_kept_cells_and_other_groups_stay_whole():
    pruned, _ = prune(model(), INPUT, widths={"0": 5})
    assert (pruned[0].out_channels, pruned[2].in_channels, pruned[2].out_channels) == (5, 5, 20)


def test_rounding_keeps_multiples():
    pruned, _ = prune(model(), INPUT, ratio=0.6, round_to=8)
    assert (pruned[0].out_channels, pruned[2].out_channels, pruned[4].in_features) == (8, 8, 128)


def test_global_ranking_takes_from_the_group_that_matters_less():
    dense = model()
    with torch.no_grad():
        dense[0].weight[:8] *= 1e-3
        dense[0].bias[:8] *= 1e-3
    pruned, recipe = prune(dense, INPUT, ratio=8 / 36, global_ranking=True)
    assert recipe.slices["0.weight"][0].kept == tuple(range(8, 16))
    assert pruned[2].out_channels == 20


def test_the_model_keeps_its_mode_its_gradients_and_its_random_state():
    dense = model().train()
    dense(INPUT).sum().backward()
    gradients = [parameter.grad.clone() for parameter in dense.parameters()]
    before, state = copy.deepcopy(dense.state_dict()), torch.get_rng_state()
    pruned, _ = prune(dense, INPUT, ratio=0.5)
    assert all(module.training for module in [*dense.modules(), *pruned.modules()])
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, dense.parameters(), strict=True))
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_cut_that_is_another_function_is_refused(monkeypatch):
    from reprune.pruning import surgery

    dense = model()
    analysis = analyze(dense, INPUT)
    honest = surgery.apply

    def careless(dense, recipe):
        pruned = honest(dense, recipe)
        pruned[2].weight.data = pruned[2].weight.data.flip(1)
        return pruned

    monkeypatch.setattr(surgery, "apply", careless)
    with pytest.raises(PruningError, match="another function: output 0 is off"):
        cut(dense, analysis, {"0": range(8)})


def test_an_operator_without_a_rule_freezes_what_it_touches():
    class Unknown(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.c(torch.renorm(self.b(self.a(x)), 2, 0, 1.0))

    analysis = analyze(Unknown(), torch.randn(3, 4))
    assert [group.name for group in analysis.groups] == ["a"]
    frozen = {each.what: each.reason for each in analysis.frozen}
    assert "aten::renorm has no pruning rule" in frozen["b.weight[0]"]


def test_parametrized_weights_stay_whole():
    dense = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.Linear(8, 8), nn.Linear(8, 2))
    analysis = analyze(dense, torch.randn(3, 4))
    assert [group.name for group in analysis.groups] == ["1"]
    assert any("parametrized" in each.reason for each in analysis.frozen)


def test_the_operators_tell_the_planner_what_a_cell_is_worth():
    torch.manual_seed(0)
    analysis = analyze(*ZOO["llama"]())
    found = {operator.name: operator for operator in analysis.operators}
    heads = "layers.0.attention.q_proj"
    assert found[f"{heads}.weight"].out_cells == {heads: 16}  # two query heads of 8 share a key-value head
    assert found["layers.0.attention.k_proj.weight"].out_cells == {heads: 8}
    assert found["layers.0.attention.o_proj.weight"].in_group == heads
    assert found["lm_head.weight"].out_group is None
    convolution = analyze(model(), INPUT).operators
    assert [o.kind for o in convolution] == ["conv", "conv", "linear"]
    assert convolution[2].in_cells == {"2": 16}  # a channel is 4 x 4 features after flattening
    assert (convolution[1].input_shape, convolution[1].output_shape) == ((2, 16, 6, 6), (2, 20, 4, 4))


def test_analysis_is_linear_in_the_graph():
    def operators_and_labels(depth):
        network = nn.Sequential(*(nn.Linear(8, 8) for _ in range(depth)))
        analysis = analyze(network, torch.randn(2, 8))
        return len(analysis.flow.sites), analysis.flow.couplings.count

    short, long = operators_and_labels(4), operators_and_labels(16)
    assert long[0] <= 4 * max(short[0], 1)
    assert long[1] == 4 * short[1]


class Stages(nn.Module):
    """Residual stages, named as users name theirs."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.layer1 = nn.Sequential(Residual(12, 16), Residual(12, 16))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.layer1(torch.relu(self.bn(self.stem(x)))).mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(c, width, 1), nn.BatchNorm2d(width), nn.Conv2d(width, c, 1)

    def forward(self, x):
        return x + self.b(torch.relu(self.norm(self.a(x))))


@pytest.mark.parametrize("name", ["stem", "bn", "layer1", "layer1.0", "layer1.1.b"])
def test_a_width_may_be_asked_of_any_module_that_returns_the_group(name):
    pruned, _ = prune(Stages(), INPUT, widths={name: 7, "layer1.1.norm": 4})
    assert (pruned.stem.out_channels, pruned.layer1[1].a.out_channels, pruned.layer1[0].a.out_channels) == (7, 4, 16)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"layer2": 4}, "neither a group nor a module 'layer2'.*\n.*Did you mean 'layer1'"),
        ({"head": 3}, "What 'head' returns stays whole: reaches the model's output"),
        ({"layer1": 4, "stem": 5}, "both 4 and 5 cells of group 'stem', as 'stem' too"),
        ({"layer1": 13}, "'stem' cannot have 13 cells|'layer1' cannot have 13 cells"),
    ],
)
def test_a_width_of_something_else_is_refused(widths, message):
    with pytest.raises(PruningError, match=message):
        prune(Stages(), INPUT, widths=widths)


class TestInPlace:
    def test_the_very_model_becomes_the_pruned_one(self):
        dense = Stages().eval()
        copied, expected = prune(dense, INPUT, ratio=0.5)
        parameters, held = list(dense.parameters()), dense(INPUT).sum()  # a loss that is held fixes sizes in autograd
        held.backward()
        pruned, recipe = prune(dense, INPUT, ratio=0.5, inplace=True)
        assert pruned is dense and recipe == expected
        assert all(a is b for a, b in zip(parameters, dense.parameters(), strict=True))
        assert torch.equal(dense.eval()(INPUT), copied.eval()(INPUT))
        dense.train()(INPUT).sum().backward()
        torch.optim.SGD(dense.parameters(), lr=0.1).step()
        again, _ = prune(dense, INPUT, ratio=0.5)
        assert again.stem.out_channels == 3

    def test_a_recurrent_model_and_ties_too(self):
        for name in ("lstm", "llama_tied"):
            dense, inputs = ZOO[name]()
            copied, _ = prune(dense, inputs, ratio=0.5)
            prune(dense, inputs, ratio=0.5, inplace=True)
            assert torch.equal(dense.eval()(inputs), copied.eval()(inputs))
            assert len(list(dense.parameters())) == len(list(copied.parameters()))
            dense.train()(inputs).sum().backward()

    def test_nothing_has_changed_after_a_failure(self, monkeypatch):
        from reprune.pruning import verify

        dense = Stages()
        before, expected = copy.deepcopy(dense.state_dict()), dense.eval()(INPUT)

        def refuse(*_):
            raise PruningError("no")

        analyze(dense, INPUT)
        monkeypatch.setattr("reprune.pruning.verify.verify", refuse)
        assert verify.verify is refuse
        with pytest.raises(PruningError):
            prune(dense, INPUT, ratio=0.5, inplace=True)
        assert dense.stem.out_channels == 12
        assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())
        assert torch.equal(dense(INPUT), expected)


def test_an_analysis_reads_as_a_table():
    shown = str(analyze(Stages(), INPUT))
    lines = shown.splitlines()
    assert lines[0].startswith("3 groups in ") and "MACs" in lines[0]
    assert lines[2].split()[:4] == ["stem", "channel", "12", "13"]
    assert "  head.weight[0]: reaches the model's output" in lines
    assert repr(analyze(Stages(), INPUT).groups[1]).startswith(
        "Group('layer1.0.a', channel, width 16: layer1.0.a.weight[0]"
    )
