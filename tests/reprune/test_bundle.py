import json
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

import reprune
from reprune import bundle
from reprune.errors import InputError, IntegrityError
from reprune.workloads.breast_cancer import model as mlp

FACTORY = "reprune.workloads.breast_cancer.model:build"
INPUTS = torch.randn(4, mlp.FEATURES, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pruned(tmp_path):
    """A pruned model, and the folder of its bundle."""
    torch.manual_seed(0)
    model, recipe = reprune.prune(mlp.build(), INPUTS, ratio=0.5)
    bundle.save(model, tmp_path / "bundle", factory=FACTORY, recipe=recipe, seed=0)
    return model.eval(), tmp_path / "bundle"


def test_a_bundle_gives_the_same_model_back_in_another_process(pruned):
    model, folder = pruned
    code = (
        "import torch, reprune, sys\n"
        f"inputs = torch.randn(4, {mlp.FEATURES}, generator=torch.Generator().manual_seed(0))\n"
        f"print(reprune.load({str(folder)!r})(inputs).detach().flatten().tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == model(INPUTS).detach().flatten().tolist()


def test_a_bundle_is_smaller_by_what_was_cut_and_holds_no_pickle(pruned):
    model, folder = pruned
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "recipe.json", "weights.safetensors"]
    floats = sum(parameter.numel() for parameter in model.parameters())
    assert 4 * floats <= (folder / "weights.safetensors").stat().st_size < 4 * floats + 2000
    assert bundle.Description.read(folder).parameters == floats


@pytest.mark.parametrize("name", ["weights.safetensors", "recipe.json"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_flipped_byte_is_found(pruned, name, place):
    _, folder = pruned
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=name):
        bundle.load(folder)


def test_a_missing_file_is_named(pruned):
    _, folder = pruned
    (folder / "weights.safetensors").unlink()
    with pytest.raises(IntegrityError, match="lacks its file weights.safetensors"):
        bundle.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1, "model": 3}'])
def test_what_is_no_description_is_told(pruned, text):
    _, folder = pruned
    (folder / "bundle.json").write_text(text)
    with pytest.raises(IntegrityError):
        bundle.load(folder)


def rewrite(folder, **changes):
    raw = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(raw | changes))


def test_a_bundle_from_a_stranger_runs_nothing_of_the_standard_library(pruned):
    _, folder = pruned
    rewrite(folder, model="os:abort")
    with pytest.raises(InputError, match="standard library"):
        bundle.load(folder)


def test_a_bundle_from_a_stranger_cannot_name_files_elsewhere(pruned, tmp_path):
    _, folder = pruned
    (tmp_path / "outside").write_text("secret")
    rewrite(folder, files={"../outside": "0" * 64})
    with pytest.raises(IntegrityError, match="outside itself"):
        bundle.load(folder)


def test_a_class_that_is_gone_is_named(pruned):
    _, folder = pruned
    rewrite(folder, model="reprune.workloads.breast_cancer.model:Vanished")
    with pytest.raises(InputError, match="Vanished"):
        bundle.load(folder)


def test_a_recipe_of_another_model_is_refused(pruned):
    _, folder = pruned
    with pytest.raises(reprune.RepruneError):
        bundle.load(folder, factory="reprune.workloads.digits.model:build")


class Tied(nn.Module):
    """Embedding and output layer share their weights."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def test_ties_stay_tied(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    model = Tied()
    bundle.save(model, tmp_path / "tied", factory="test_bundle:Tied")
    loaded = bundle.load(tmp_path / "tied")
    assert loaded.head.weight is loaded.embedding.weight
    assert torch.equal(loaded.head.weight, model.head.weight)


class TestWeights:
    """Weights that a user brings."""

    def test_safetensors_and_state_dicts_are_taken(self, tmp_path):
        source, target = mlp.build(), mlp.build()
        safetensors.torch.save_model(source, str(tmp_path / "w.safetensors"))
        torch.save(source.state_dict(), tmp_path / "w.pt")
        for name in ("w.safetensors", "w.pt"):
            bundle.load_weights(target, tmp_path / name)
            assert torch.equal(target[0].weight, source[0].weight)

    def test_a_whole_pickled_module_is_refused(self, tmp_path):
        torch.save(mlp.build(), tmp_path / "w.pt")
        with pytest.raises(InputError, match="no state_dict that can be read safely"):
            bundle.load_weights(mlp.build(), tmp_path / "w.pt")

    def test_weights_of_another_model_are_refused_tensor_by_tensor(self, tmp_path):
        safetensors.torch.save_file(
            {"0.weight": torch.zeros(3, 30), "extra": torch.zeros(1)}, tmp_path / "w.safetensors"
        )
        with pytest.raises(InputError) as caught:
            bundle.load_weights(mlp.build(), tmp_path / "w.safetensors")
        told = str(caught.value)
        assert "0.bias is missing" in told and "extra belongs to no tensor" in told

    def test_a_shape_that_differs_is_named(self, tmp_path):
        state = {name: tensor.clone() for name, tensor in mlp.build().state_dict().items()}
        state["0.weight"] = state["0.weight"][:7]
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "w.safetensors")
        with pytest.raises(InputError, match=r"0.weight is \[7, 30\], the model has \[512, 30\]"):
            bundle.load_weights(mlp.build(), tmp_path / "w.safetensors")

    def test_a_truncated_file_is_told(self, tmp_path):
        safetensors.torch.save_model(mlp.build(), str(tmp_path / "w.safetensors"))
        (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:500])
        with pytest.raises(InputError, match="cannot be read"):
            bundle.load_weights(mlp.build(), tmp_path / "w.safetensors")


def test_a_class_that_cannot_be_found_again_asks_for_a_factory(tmp_path):
    class Local(nn.Linear):
        pass

    with pytest.raises(InputError, match="factory="):
        bundle.save(Local(2, 2), tmp_path / "local")
