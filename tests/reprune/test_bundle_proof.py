"""What `reprune.save` writes loads as the model that was saved, in every way it can save; or nothing is written."""

import copy
import json
import math
import os
from collections.abc import Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import reprune
from reprune.errors import InputError
from reprune.pruning import bundle, verify
from reprune.pruning import masks as sparsity
from tests.reprune.pruning.zoo import huggingface
from tests.reprune.test_strict_json import VALUES

HERE = "tests.reprune.test_bundle_proof"
INPUTS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
CLASS = f"{HERE}:Net"
FUNCTION = f"{HERE}:build"


class Net(nn.Module):
    """A model whose class takes arguments, with a buffer that its state_dict leaves out."""

    def __init__(self, width=8, scale: Sequence[float] = (1.0, math.inf)):
        super().__init__()
        self.scale = tuple(scale)
        self.a, self.norm, self.b = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3)
        self.register_buffer("shift", torch.linspace(0, 1, 3), persistent=False)

    def forward(self, x):
        x = self.norm(torch.relu(self.a(x)))
        return (self.b(x) + self.shift).clamp(-self.scale[1], self.scale[1]) * self.scale[0]


def build(width: int = 8) -> nn.Module:
    return Net(width)


def trained(model):
    """Take random weights and running statistics, as training leaves them."""
    torch.manual_seed(1)
    model(torch.randn(16, 4, dtype=next(model.parameters()).dtype))
    return model.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("way", [{}, {"factory": CLASS}, {"factory": FUNCTION, "arguments": {"width": 8}}])
def test_every_way_to_save_gives_the_same_answers(way, cut, masked, dtype, tmp_path):
    model = trained(Net())
    model = (reprune.prune(model, INPUTS, ratio=0.5)[0] if cut else model).to(dtype)
    masks = {"a.weight": torch.rand(model.a.weight.shape) > 0.5} if masked else None
    bundle.save(model, tmp_path / "b", masks=masks, inputs=INPUTS.to(dtype), **way)
    loaded = bundle.load(tmp_path / "b", allow=[HERE])
    if masked:
        sparsity.apply(model, masks)
    assert torch.equal(loaded(INPUTS.to(dtype)), model.eval()(INPUTS.to(dtype)))
    assert loaded.shift.dtype == dtype
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_weights_of_several_types_and_with_nan_stay_bit_by_bit(tmp_path):
    model = trained(Net())
    model.a.to(torch.bfloat16)
    model.b.weight.data[0, 0], model.b.weight.data[0, 1] = math.nan, -0.0
    bundle.save(model, tmp_path / "b")
    loaded = bundle.load(tmp_path / "b", allow=[HERE])
    assert loaded.a.weight.dtype == torch.bfloat16 and loaded.b.weight.dtype == torch.float32
    assert loaded.b.weight.detach().numpy().tobytes() == model.b.weight.detach().numpy().tobytes()


def test_a_buffer_that_the_state_dict_leaves_out_is_kept_if_it_was_changed(tmp_path):
    model = trained(Net())
    bundle.save(model, tmp_path / "as-built")
    assert not (tmp_path / "as-built" / "buffers.safetensors").exists()
    model.shift.fill_(3)
    bundle.save(model, tmp_path / "changed", inputs=INPUTS)
    assert torch.equal(bundle.load(tmp_path / "changed", allow=[HERE])(INPUTS), model(INPUTS))


def test_the_weights_of_the_quantized_file_are_proven_too(tmp_path):
    model = trained(Net())
    other = copy.deepcopy(model)
    other.a.weight.data += 1
    bundle.save(model, tmp_path / "b", quantized=other, inputs=INPUTS)
    assert torch.equal(bundle.load(tmp_path / "b", allow=[HERE], quantized=True)(INPUTS), other(INPUTS))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else None


class LateTie(Net):
    """A model that is built with two weights of its own, and that a user ties afterwards."""

    def __init__(self):
        super().__init__(4)
        self.c = nn.Linear(4, 4)


def late_tie():
    model = LateTie()
    model.c.weight = model.a.weight
    return trained(model)


class Tied(LateTie):
    """A model that is built with two weights that are one, and that a user takes apart afterwards."""

    def __init__(self):
        super().__init__()
        self.c.weight = self.a.weight


def untied():
    model = trained(Tied())
    model.c.weight = nn.Parameter(model.a.weight.detach() + 1)
    return model


class Careless(Net):
    """A model that can be built, and not be filled."""

    def _load_from_state_dict(self, *arguments):
        raise OverflowError("too full")


class Extra(Net):
    """A model whose state is not tensors alone."""

    def get_extra_state(self):
        return {"epoch": 3}

    def set_extra_state(self, state):
        raise AssertionError


class Sparse(Net):
    """A model with a tensor that safetensors does not keep."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.eye(3).to_sparse())


FAILING = {
    "other answers": (lambda: trained(Net(scale=(2.0, 1.0))), {"inputs": INPUTS}, "answers otherwise"),
    "a tie made later": (late_tie, {}, r"could not be loaded: .*c\.weight is missing"),
    "a tie taken apart": (untied, {}, r"cannot keep .*[ac]\.weight"),
    "cannot be filled": (lambda: trained(Careless()), {}, "could not be loaded: OverflowError: too full"),
    "a sparse tensor": (lambda: trained(Sparse()), {}, "mask cannot be written"),
    "state that is no tensor": (lambda: trained(Extra()), {}, "_extra_state cannot be written"),
    "an argument": (Net, {"arguments": {"scale": [1.0, {1, 2}]}}, r"arguments\.scale\[1\] cannot be written as JSON"),
    "lineage": (Net, {"seed": "\ud800"}, r"lineage\.seed cannot be written as JSON"),
}


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("case", FAILING)
@pytest.mark.filterwarnings("ignore:.*builds the model with")
def test_what_cannot_be_kept_is_named_and_the_folder_stays_as_it_was(case, before, tmp_path):
    make, options, message = FAILING[case]
    folder = tmp_path / "b"
    if before:
        bundle.save(trained(Net()), folder)
    kept = contents(folder)
    with pytest.raises(InputError, match=message) as caught:
        bundle.save(make(), folder, **options)
    assert caught.value.remedy and ".staged" not in str(caught.value)
    assert contents(folder) == kept
    assert [path.name for path in tmp_path.iterdir()] == (["b"] if before else [])


class Given(nn.Linear):
    """A model that keeps what it was given."""

    def __init__(self, **given):
        super().__init__(1, 1)
        self.given = given


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.dictionaries(st.text(min_size=1), VALUES))
def test_any_arguments_that_are_accepted_come_back_equal(tmp_path, arguments):
    bundle.save(Given(**arguments), tmp_path / "b", arguments=arguments)
    loaded = bundle.load(tmp_path / "b", allow=[f"{HERE}:Given"])
    assert repr(loaded.given) == repr(arguments)  # repr: NaN equals itself, 1 is not True
    json.loads((tmp_path / "b" / "bundle.json").read_text(), parse_constant=pytest.fail)


def test_lineage_keeps_floats_that_are_not_finite(tmp_path):
    bundle.save(trained(Net()), tmp_path / "b", history=[{"loss": math.inf}, {"loss": math.nan}])
    found = bundle.Description.read(tmp_path / "b").lineage["history"]
    assert found[0] == {"loss": math.inf} and math.isnan(found[1]["loss"])


@pytest.mark.parametrize("value", [{"__float__": "1"}, {"__tuple__": 3}, {"__dict__": [1]}])
def test_arguments_that_are_no_encoding_are_no_bundle(value, tmp_path):
    bundle.save(trained(Net()), tmp_path / "b")
    raw = json.loads((tmp_path / "b" / "bundle.json").read_text())
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(raw | {"arguments": {"width": value}}))
    with pytest.raises(InputError, match=r"bundle\.json: arguments\.width cannot be read"):
        bundle.load(tmp_path / "b", allow=[HERE])


def kill_at(rename, folder):
    """Save over a bundle in a child process that kills itself at its n-th rename; returns whether it got that far."""
    child = os.fork()
    if child == 0:
        import signal
        import sys

        left = [rename]

        def count(event, _):
            if event == "os.rename":
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        bundle.save(reprune.prune(trained(Net()), INPUTS, ratio=0.5)[0], folder)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


@pytest.mark.parametrize("exists", [False, True])
def test_a_killed_save_leaves_the_old_bundle_or_the_new_one(exists, tmp_path):
    old = trained(Net()).to(torch.bfloat16)
    seen = set()
    for rename in range(1, 12):
        folder = tmp_path / str(rename) / "b"
        if exists:
            bundle.save(old, folder, masks={"a.weight": torch.ones(8, 4, dtype=torch.bool)})
            (folder / "notes.txt").write_text("mine")
        if not kill_at(rename, folder):
            break
        if folder.exists():
            loaded = bundle.load(folder, allow=[HERE])
            seen.add("new" if bundle.recipe_of(folder) else "old")
            new = bundle.recipe_of(folder) is not None
            assert loaded.a.weight.shape == ((4, 4) if new else (8, 4))
            assert bool(bundle.masks_of(folder)) != new
        bundle.save(old, folder)
        assert sorted(path.name for path in folder.parent.iterdir()) == ["b"]
        names = {"bundle.json", "weights.safetensors", "buffers.safetensors"} | ({"notes.txt"} if exists else set())
        assert set(contents(folder)) == names
        assert torch.equal(bundle.load(folder, allow=[HERE]).a.weight, old.a.weight)
    assert rename > 1 and (seen == {"old", "new"} if exists else not seen)


def test_two_that_save_side_by_side_do_not_disturb_each_other(tmp_path):
    from reprune.storage.staged_folder import staged

    with staged(tmp_path / "b", index=bundle.DESCRIPTION, names=bundle.FILES) as place:
        (place / "weights.safetensors").write_text("being written")
        with staged(tmp_path / "b", index=bundle.DESCRIPTION, names=bundle.FILES) as other:
            (other / "bundle.json").write_text('{"files": {}}')
            assert (place / "weights.safetensors").read_text() == "being written"
        (tmp_path / "b" / "bundle.json").rename(tmp_path / "first.json")
        (place / "bundle.json").write_text('{"files": {"weights.safetensors": ""}}')
    assert (tmp_path / "b" / "weights.safetensors").read_text() == "being written"


FAST = ("albert", "llama", "t5")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in (*huggingface.MODELS, "mamba2")],
)
def test_transformers_are_kept_by_their_config(name, tmp_path):
    torch.manual_seed(0)
    model, inputs = mamba2() if name == "mamba2" else huggingface.MODELS[name]()
    for dtype in (torch.float32, torch.bfloat16):
        model = model.to(dtype).eval()
        given = huggingface_inputs(inputs, dtype)
        bundle.save(model, tmp_path / str(dtype), inputs=given)
        expected, found = verify.run(model, given), verify.run(bundle.load(tmp_path / str(dtype)), given)
        assert len(expected) == len(found) and all(map(torch.equal, expected, found))


def huggingface_inputs(inputs, dtype):
    def cast(x):
        return x.to(dtype) if x.is_floating_point() else x

    return {name: cast(x) for name, x in inputs.items()} if isinstance(inputs, dict) else cast(inputs)


def mamba2():
    """A model whose config holds an infinity."""
    settings = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 8, "num_heads": 8}
    return huggingface.of(
        "Mamba2ForCausalLM", "Mamba2Config", huggingface.ids(), **settings, head_dim=8, n_groups=1, use_cache=False
    )
