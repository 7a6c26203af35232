import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch import nn

from reprune.errors import PruningError, RepruneWarning
from reprune.pruning import masks


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def magnitudes(network):
    return {name: weight.abs() for name, weight in masks.weights_of(network).items()}


@pytest.mark.filterwarnings("ignore::reprune.RepruneWarning")  # of 35 weights, 1 % is none
@given(st.floats(0, 0.99), st.sampled_from(["global", "layer", "row"]), st.integers(0, 99))
def test_the_highest_scores_stay(sparsity, ranking, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = {"a": torch.rand(5, 7, generator=generator), "b": torch.rand(4, 3, 2, generator=generator)}
    kept = masks.unstructured(scores, sparsity, ranking)
    units = {
        "global": [[(scores[n].flatten(), kept[n].flatten()) for n in scores]],
        "layer": [[(scores[n].flatten(), kept[n].flatten())] for n in scores],
        "row": [[row] for n in scores for row in zip(scores[n].flatten(1), kept[n].flatten(1), strict=True)],
    }[ranking]
    for unit in units:
        values, stays = torch.cat([v for v, _ in unit]), torch.cat([k for _, k in unit])
        assert int((~stays).sum()) == int(sparsity * len(values))
        if stays.any() and not stays.all():
            assert values[stays].min() >= values[~stays].max()


@pytest.mark.filterwarnings("ignore::reprune.RepruneWarning")  # of 35 weights, 1 % is none
@given(st.floats(0, 0.9), st.lists(st.sampled_from([1e-6, 1e-3, 1.0, 1e3]), min_size=2, max_size=4), st.integers(0, 99))
def test_adaptively_ranked_no_row_loses_all_and_in_each_the_highest_stay(sparsity, scales, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = {str(k): scale * torch.rand(8, 4, 3, generator=generator) for k, scale in enumerate(scales)}
    kept = masks.unstructured(scores, sparsity, "adaptive")
    total = sum(score.numel() for score in scores.values())
    assert sum(int((~mask).sum()) for mask in kept.values()) == int(sparsity * total)
    for name in scores:
        for score, stays in zip(scores[name].flatten(1), kept[name].flatten(1), strict=True):
            assert stays.any()
            assert stays.all() or score[stays].min() >= score[~stays].max()


def test_adaptive_ranking_does_not_depend_on_the_scale_of_a_row():
    scores = {"a": torch.rand(20, 20), "b": torch.rand(10, 30)}
    scaled = scores | {"a": 2.0 ** torch.arange(20)[:, None] * scores["a"]}
    for name, mask in masks.unstructured(scores, 0.8, "adaptive").items():
        assert torch.equal(mask, masks.unstructured(scaled, 0.8, "adaptive")[name])


def test_n_of_m_keeps_n_of_every_m():
    scores = {"w": torch.arange(1.0, 9.0)[None] * torch.tensor([[1.0]]), "odd": torch.rand(2, 3)}
    found = masks.n_of_m(scores, 2, 4)
    assert found["w"].int().tolist() == [[0, 0, 1, 1, 0, 0, 1, 1]]
    assert "odd" not in found
    big = masks.n_of_m({"w": torch.rand(6, 8, 2)}, 4, 8)["w"]
    assert (big.reshape(-1, 8).sum(1) == 4).all()


def test_wanda_compares_within_each_row():
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    scores = masks.wanda_scores(nn.Sequential(layer), [torch.tensor([[100.0, 10.0, 1.0, 0.1]])])
    kept = masks.unstructured(scores, 0.5, "row")
    assert (layer.weight * kept["0.weight"]).tolist() == [[1.0, 2.0, 0.0, 0.0]]


def test_masks_survive_the_disk_at_a_bit_a_weight(tmp_path):
    kept = masks.unstructured({"w": torch.rand(1000, 801)}, 0.9)
    masks.save(kept, tmp_path / "masks.safetensors")
    found = masks.load(tmp_path / "masks.safetensors")
    assert torch.equal(found["w"], kept["w"])
    assert (tmp_path / "masks.safetensors").stat().st_size < 801_000 / 8 + 500


@pytest.mark.parametrize(
    ("bits", "shape"),
    [
        (np.zeros(1, np.uint8), "3,4"),
        (np.zeros(2, np.uint8), "-3,-4"),
        (np.zeros(2, np.uint8), "3,many"),
        (np.zeros((2, 1), np.uint8), "3,4"),
        (np.zeros(2, np.float32), "3,4"),
    ],
)
def test_a_file_from_a_stranger_that_says_of_itself_what_is_not_so_is_refused(tmp_path, bits, shape):
    path = tmp_path / "masks.safetensors"
    save_file({"weight": bits}, path, metadata={"format": masks.FORMAT, "shape:weight": shape})
    with pytest.raises(PruningError, match="cannot be read as masks"):
        masks.load(path)


def test_removed_weights_stay_at_zero_while_the_others_learn():
    network = model()
    kept = masks.unstructured(magnitudes(network), 0.5)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    with masks.held(network, optimizer, kept):
        for _ in range(3):
            optimizer.zero_grad()
            network(torch.randn(4, 8)).square().sum().backward()
            optimizer.step()
    for name, weight in masks.weights_of(network).items():
        assert (weight[~kept[name]] == 0).all()
    assert masks.sparsity(kept) == pytest.approx(0.5, abs=0.02)
    network(torch.randn(4, 8)).square().sum().backward()
    optimizer.step()
    assert any((weight[~kept[name]] != 0).any() for name, weight in masks.weights_of(network).items())


def test_rewinding_puts_survivors_back_to_where_they_began():
    network = model()
    early = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    kept = masks.unstructured(magnitudes(network), 0.5)
    masks.rewind(network, early, kept)
    for name, weight in masks.weights_of(network).items():
        assert torch.equal(weight, early[name] * kept[name])
    assert torch.equal(network[0].bias, early["0.bias"])


@pytest.mark.parametrize(
    "call",
    [
        lambda: masks.unstructured({}, 1.0),
        lambda: masks.unstructured({"movement": torch.tensor([-1.0, 1.0])}, 0.5, "adaptive"),
        lambda: masks.n_of_m({}, 4, 4),
        lambda: masks.apply(model(), {"0.weight": torch.ones(2, 2, dtype=torch.bool)}),
        lambda: masks.apply(model(), {"nothing": torch.ones(2, 2, dtype=torch.bool)}),
        lambda: masks.rewind(model(), {"0.weight": torch.ones(2)}, {}),
        lambda: masks.load("/nonexistent/masks"),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(PruningError):
        call()


class TestReached:
    """A sparsity that is asked for and not reached is told."""

    SHORT = {"depthwise.weight": torch.rand(16, 1, 1), "fc.weight": torch.rand(4, 2)}

    def test_rows_too_short_to_lose_a_weight_are_named(self):
        with pytest.warns(
            RepruneWarning, match=r"50.0% of the weights, and remove 16.7%.*depthwise.weight \[16, 1, 1\]"
        ):
            masks.unstructured(self.SHORT, 0.5, "row")
        with pytest.raises(PruningError, match="depthwise.weight"):
            masks.unstructured(self.SHORT, 0.5, "row", strict=True)

    def test_parameters_that_a_pattern_does_not_fit_are_named(self):
        odd = {"odd": torch.rand(6, 9), "even": torch.rand(2, 4)}
        with pytest.warns(RepruneWarning, match=r"1 tensor of 2 lose none: odd \[6, 9\]"):
            assert set(masks.n_of_m(odd, 2, 4)) == {"even"}
        with pytest.raises(PruningError, match="odd"):
            masks.n_of_m(odd, 2, 4, strict=True)

    def test_nothing_to_score_is_told(self):
        with pytest.warns(RepruneWarning, match="no weight is scored"):
            masks.unstructured({}, 0.5)

    @given(st.floats(0, 0.99), st.sampled_from(["global", "layer", "row"]), st.integers(1, 40), st.integers(1, 40))
    def test_a_warning_comes_with_less_than_half_and_with_nothing_else(self, sparsity, ranking, rows, columns):
        scores = {"w": torch.rand(rows, columns)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kept = masks.unstructured(scores, sparsity, ranking)
        reached = int((~kept["w"]).sum()) / (rows * columns)
        assert [it.category for it in caught] == [RepruneWarning] * (sparsity > 0 and reached < sparsity / 2)
