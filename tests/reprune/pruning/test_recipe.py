import pytest
import torch
from torch import nn

from reprune.errors import PruningError
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.prune import cut
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import replay
from tests.reprune.pruning.helpers import assert_close, outputs


def mlp(width=8):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 2))


def halved(model, name="0", kept=(1, 3, 4, 6)):
    return cut(model, analyze(model, torch.randn(3, 4)), {name: kept})


def test_a_recipe_survives_the_disk(tmp_path):
    _, recipe = halved(mlp())
    recipe.save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path / "recipe.json") == recipe == Recipe.from_json(recipe.to_json())


def test_a_recipe_says_what_was_kept():
    _, recipe = halved(mlp())
    assert {name: [(cut.dim, cut.kept) for cut in cuts] for name, cuts in recipe.slices.items()} == {
        "0.weight": [(0, (1, 3, 4, 6))],
        "0.bias": [(0, (1, 3, 4, 6))],
        "2.weight": [(1, (1, 3, 4, 6))],
    }
    assert {(e.module, e.attribute, e.before, e.after) for e in recipe.attributes} == {
        ("0", "out_features", 8, 4),
        ("2", "in_features", 8, 4),
    }


def test_a_recipe_is_immutable():
    _, recipe = halved(mlp())
    with pytest.raises(ValueError, match="frozen"):
        recipe.slices = {}


def test_two_recipes_make_one():
    model = mlp()
    first_model, first = halved(model)
    second_model, second = halved(first_model, kept=(0, 2))
    both = first.then(second)
    assert both.slices["0.weight"][0].kept == (1, 4)
    assert_close(outputs(replay(model, both), torch.ones(2, 4)), outputs(second_model, torch.ones(2, 4)), 0)
    edit = next(edit for edit in both.attributes if edit.attribute == "out_features")
    assert (edit.before, edit.after) == (8, 2)


def test_recipes_in_the_wrong_order_do_not_compose():
    first_model, first = halved(mlp())
    _, second = halved(first_model, kept=(0, 2))
    with pytest.raises(PruningError, match="expects 8 indices in dimension 0 of '0.bias'"):
        second.then(first)


def test_the_identity_keeps_everything():
    model = mlp()
    identity = Recipe.identity(model)
    _, recipe = halved(model)
    assert identity.then(recipe) == recipe
    assert_close(outputs(replay(model, identity), torch.ones(2, 4)), outputs(model, torch.ones(2, 4)), 0)


def test_replay_leaves_the_model_alone_and_uses_its_weights():
    _, recipe = halved(mlp())
    other = mlp()
    pruned = replay(other, recipe)
    assert torch.equal(pruned[0].weight, other[0].weight[[1, 3, 4, 6]])
    pruned[0].weight.data.zero_()
    assert other[0].weight.abs().min() > 0
    assert other[0].out_features == 8


def test_replay_names_every_tensor_that_does_not_fit():
    _, recipe = halved(mlp())
    with pytest.raises(PruningError, match=r"0.weight is \[10, 4\], the recipe expects \[8, 4\]; .*2.weight"):
        replay(mlp(10), recipe)


def test_a_file_that_is_no_recipe_is_refused(tmp_path):
    (tmp_path / "recipe.json").write_text('{"format": 99}')
    with pytest.raises(PruningError, match="recipe.json is not a recipe"):
        Recipe.load(tmp_path / "recipe.json")
    with pytest.raises(PruningError, match="is not a recipe"):
        Recipe.load(tmp_path / "absent.json")
