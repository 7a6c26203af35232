import pytest
import torch

from reprune.errors import InputError, PruningError
from reprune.pruning import depth
from reprune.pruning.prune import prune
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import replay
from tests.reprune.pruning.helpers import assert_close, outputs
from tests.reprune.pruning.test_zoo import build, learns

BLOCKS = {
    "resnet": ["0.1", "0.2", "0.4"],
    "vit_packed": ["blocks.0", "blocks.1"],
    "llama": ["layers.0", "layers.1"],
    "gpt2": ["h.0", "h.1"],
    "convnext": ["0.2", "0.3"],
    "mlp_mixer": ["blocks.0", "blocks.1"],
    "mobilenet_v2": ["0.1"],
    "vgg": [],
    "densenet": [],
}


@pytest.mark.parametrize("name", BLOCKS)
def test_residual_blocks_are_found_by_what_they_do(name):
    model, inputs = build(name)
    assert [block.name for block in depth.blocks(model, inputs)] == BLOCKS[name]


@pytest.mark.parametrize("name", [name for name, blocks in BLOCKS.items() if blocks])
def test_a_shallower_model_works_in_every_way(name, tmp_path):
    model, inputs = build(name)
    block = depth.blocks(model, inputs)[-1]
    pruned, recipe = depth.drop(model, inputs, [block.name])
    assert sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in pruned.parameters()) == block.parameters
    recipe.save(tmp_path / "recipe.json")
    assert_close(outputs(replay(model, Recipe.load(tmp_path / "recipe.json")), inputs), outputs(pruned, inputs), 0)
    learns(pruned, inputs)
    narrow, second = prune(pruned, inputs, ratio=0.5)
    shapes = {name: tensor.shape for name, tensor in replay(model, recipe.then(second)).state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in narrow.state_dict().items()}


def test_a_block_that_changes_less_has_less_influence():
    model, inputs = build("vit_packed")
    with torch.no_grad():
        for parameter in model.blocks[1].parameters():
            parameter.mul_(0.1)
    found = depth.influence(model, inputs, [torch.randn_like(inputs) for _ in range(2)])
    assert found["blocks.1"] < found["blocks.0"]


def test_bad_input_is_refused():
    model, inputs = build("resnet")
    with pytest.raises(PruningError, match="'0.3' is no residual block"):
        depth.drop(model, inputs, ["0.3"])
    with pytest.raises(InputError, match="at least one batch"):
        depth.influence(model, inputs, [])
