import copy
import json
import os
import pickle
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

import reprune
from reprune.errors import InputError, IntegrityError
from reprune.pruning import bundle
from reprune.pruning import masks as sparsity
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


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"format": 99}', b'{"format": 1, "model": 3}', b"\xff"])
def test_what_is_no_description_is_told(pruned, text):
    _, folder = pruned
    (folder / "bundle.json").write_bytes(text)
    with pytest.raises(InputError, match="is not a bundle"):
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
    loaded = bundle.load(tmp_path / "tied", allow=["test_bundle"])
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


class Sized(nn.Module):
    """A model whose class takes arguments."""

    def __init__(self, width, activation="relu"):
        super().__init__()
        self.activation = activation
        self.a, self.b = nn.Linear(4, width), nn.Linear(width, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)) if self.activation == "relu" else torch.tanh(self.a(x)))


def unannotated(width):
    return Sized(width)


def annotated(width) -> nn.Module:
    return Sized(width)


SIZED_INPUTS = torch.ones(2, 4)


@pytest.fixture
def here(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))


class TestRemembering:
    """A pruned model knows how it came from the dense one."""

    def test_it_is_saved_without_being_told_and_pruned_twice(self, tmp_path):
        dense = mlp.build()
        once, first = reprune.prune(dense, INPUTS, ratio=0.5)
        twice, second = reprune.prune(copy.deepcopy(once), INPUTS, ratio=0.5)
        bundle.save(copy.deepcopy(twice), tmp_path / "twice", factory=FACTORY)
        assert bundle.recipe_of(tmp_path / "twice") == first.then(second)
        loaded = bundle.load(tmp_path / "twice")
        assert torch.equal(loaded(INPUTS), twice.eval()(INPUTS))
        bundle.save(loaded, tmp_path / "again", factory=FACTORY)
        assert bundle.recipe_of(tmp_path / "again") == first.then(second)

    def test_it_disturbs_neither_state_nor_pickling_nor_export(self, tmp_path):
        pruned, recipe = reprune.prune(mlp.build(), INPUTS, ratio=0.5)
        assert pruned.state_dict().keys() == mlp.build().state_dict().keys()
        unpickled = pickle.loads(pickle.dumps(pruned))
        assert "reprune" not in str(pickletools_globals(pickle.dumps(pruned)))
        bundle.save(unpickled, tmp_path / "b", factory=FACTORY)
        assert bundle.recipe_of(tmp_path / "b") == recipe
        torch.export.export(pruned, (INPUTS,))

    def test_a_model_that_is_rebuilt_between_cuts_is_pruned_all_the_same(self, tmp_path):
        pruned, _ = reprune.prune(mlp.build(), INPUTS, ratio=0.5)
        pruned.append(nn.ReLU())
        pruned.append(nn.Linear(pruned[-2].out_features, 7))
        again, _ = reprune.prune(pruned, INPUTS, ratio=0.5)
        with pytest.raises(InputError, match="builds another model"):
            bundle.save(again, tmp_path / "b", factory=FACTORY)


def pickletools_globals(data):
    import pickletools

    ops = list(pickletools.genops(data))
    return [argument for op, argument, _ in ops if op.name in ("GLOBAL", "SHORT_BINUNICODE") and argument == "reprune"]


class TestFactories:
    """How the dense model is built again."""

    def test_arguments_are_kept_and_used(self, here, tmp_path):
        pruned, _ = reprune.prune(Sized(8), SIZED_INPUTS, ratio=0.5)
        for name in ("Sized", "annotated"):
            reprune.save(pruned, tmp_path / name, factory=f"test_bundle:{name}", arguments={"width": 8})
            assert torch.equal(
                reprune.load(tmp_path / name, allow=["test_bundle"])(SIZED_INPUTS), pruned.eval()(SIZED_INPUTS)
            )

    def test_a_class_that_takes_arguments_says_which(self, here, tmp_path):
        with pytest.raises(InputError, match=r"Sized takes \(width, activation='relu'\)") as caught:
            reprune.save(Sized(8), tmp_path / "b", factory="test_bundle:Sized")
        assert "arguments={...}" in str(caught.value)
        assert not (tmp_path / "b").exists()

    def test_wrong_arguments_are_found_before_anything_is_written(self, here, tmp_path):
        pruned, _ = reprune.prune(Sized(8), SIZED_INPUTS, ratio=0.5)
        with pytest.raises(InputError, match=r"a.weight is \[9, 4\], the recipe expects \[8, 4\]"):
            reprune.save(pruned, tmp_path / "b", factory="test_bundle:Sized", arguments={"width": 9})
        with pytest.raises(InputError, match=r"a.weight is \[9, 4\] and not \[8, 4\]"):
            reprune.save(Sized(8), tmp_path / "b", factory="test_bundle:Sized", arguments={"width": 9})
        assert not (tmp_path / "b").exists()

    def test_settings_that_do_not_show_in_shapes_are_told(self, here, tmp_path):
        with pytest.warns(UserWarning, match="activation = 'relu', where it is 'tanh' now"):
            reprune.save(Sized(8, "tanh"), tmp_path / "b", factory="test_bundle:Sized", arguments={"width": 8})

    def test_other_modules_of_the_same_shapes_are_found(self, tmp_path):
        other = mlp.build()
        other[1] = nn.GELU()
        with pytest.raises(InputError, match=r"1 is ReLU\(.*\) and not GELU"):
            reprune.save(other, tmp_path / "b", factory=FACTORY)

    def test_what_json_cannot_hold_is_refused(self, here, tmp_path):
        with pytest.raises(InputError, match="cannot be written as JSON"):
            reprune.save(Sized(8), tmp_path / "b", factory="test_bundle:Sized", arguments={"width": torch.tensor(8)})

    def test_only_functions_annotated_to_build_models_are_given_arguments(self, here, pruned):
        _, folder = pruned
        rewrite(folder, model="test_bundle:unannotated", arguments={"f": "x"})
        with pytest.raises(InputError, match="does not say that it builds a model"):
            bundle.load(folder, allow=["test_bundle:unannotated"])

    def test_a_module_that_is_gone_is_named(self, pruned):
        _, folder = pruned
        rewrite(folder, model="vanished.models:Net")
        with pytest.raises(InputError, match="no module 'vanished'"):
            bundle.load(folder, allow=["vanished"])

    def test_a_class_made_of_a_config_needs_nothing(self, here, tmp_path):
        model = Configured(Config(hidden=8))
        pruned, _ = reprune.prune(model, SIZED_INPUTS, ratio=0.5)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Configured, "__module__", "test_bundle")
            reprune.save(pruned, tmp_path / "b")
        assert json.loads((tmp_path / "b" / "bundle.json").read_text())["arguments"] == {"config": {"hidden": 8}}
        assert torch.equal(
            reprune.load(tmp_path / "b", allow=["test_bundle"])(SIZED_INPUTS), pruned.eval()(SIZED_INPUTS)
        )


class Config:
    """The convention of transformers, without transformers."""

    def __init__(self, hidden):
        self.hidden = hidden

    def to_dict(self):
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values):
        return cls(**values)


class Configured(nn.Module):
    config_class = Config

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.a, self.b = nn.Linear(4, config.hidden), nn.Linear(config.hidden, 2)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


def test_precision_is_kept(tmp_path):
    model, _ = reprune.prune(mlp.build().bfloat16(), INPUTS.bfloat16(), ratio=0.5)
    bundle.save(model, tmp_path / "b", factory=FACTORY)
    loaded = bundle.load(tmp_path / "b")
    assert loaded[0].weight.dtype == torch.bfloat16
    assert torch.equal(loaded(INPUTS.bfloat16()), model.eval()(INPUTS.bfloat16()))


class TestMasks:
    """Single weights that were removed, kept apart."""

    def test_they_are_applied_on_loading_and_the_weights_kept(self, tmp_path):
        model = mlp.build()
        masks = sparsity.unstructured({n: w.abs() for n, w in sparsity.weights_of(model).items()}, 0.9)
        bundle.save(model, tmp_path / "b", factory=FACTORY, masks=masks)
        packed = (tmp_path / "b" / "masks.safetensors").stat().st_size
        assert packed < sum(mask.numel() for mask in masks.values()) / 8 + 1000
        loaded = bundle.load(tmp_path / "b")
        assert torch.equal(loaded[0].weight, model[0].weight * masks["0.weight"])
        assert all(torch.equal(mask, masks[name]) for name, mask in bundle.masks_of(tmp_path / "b").items())
        stored = safetensors.torch.load_file(tmp_path / "b" / "weights.safetensors")
        assert torch.equal(stored["0.weight"], model[0].weight)

    def test_those_of_another_model_are_refused(self, tmp_path):
        with pytest.raises(reprune.RepruneError, match="The mask of 'other'"):
            bundle.save(mlp.build(), tmp_path / "b", factory=FACTORY, masks={"other": torch.ones(2, dtype=torch.bool)})
        assert not (tmp_path / "b").exists()
