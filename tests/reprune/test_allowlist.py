"""Entry points of every kind, tried against the loader's allowlist; none of the refused ones may run."""

import codecs
import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

import reprune
from reprune import hashing, strict_json
from reprune.errors import InputError, RepruneError
from reprune.pruning import bundle
from reprune.pruning.bundle_allowlist import Allowlist
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store
from reprune.workloads.digits import model as digits

CODE = """
import os
import pathlib
import subprocess

import torch
from os import system
from torch import nn
from torch.fx import GraphModule
from torch.fx.graph_module import reduce_graph_module

pathlib.Path(__file__).with_name("IMPORTED").touch()
MARK = pathlib.Path(__file__).with_name("CALLED")


class Net(nn.Module):
    def __init__(self, width=3, **more):
        super().__init__()
        self.layer = nn.Linear(4, width)

    def forward(self, x):
        return self.layer(x)

    @classmethod
    def made(cls):
        MARK.touch()
        return cls()


class _Hidden(Net):
    pass


class Plain:
    def __init__(self, **arguments):
        MARK.touch()


class Traced(GraphModule):
    pass


class Scripted(torch.jit.ScriptModule):
    pass


def build() -> nn.Module:
    return Net()


def sized(width: int) -> nn.Module:
    return Net(width)


def bare(**arguments):
    MARK.touch()
    return Net()


def wipe() -> None:
    MARK.touch()


lazily = lambda: MARK.touch()
made = Net.made
model = Net()
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with the package ``shop``, which says when it was imported and when something of it was called."""
    package = tmp_path / "code" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(package.parent))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def write(folder, model, arguments=None, **lineage):
    """Write a bundle by hand, as a stranger would."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    safetensors.torch.save_file({"layer.weight": torch.zeros(3, 4), "layer.bias": torch.zeros(3)}, weights)
    exact = strict_json.encode(arguments or {}, "arguments")
    described = {"format": 1, "model": model, "arguments": exact, "parameters": 15, "lineage": lineage}
    files = {weights.name: hashing.of_file(weights)}
    (folder / "bundle.json").write_text(json.dumps(described | {"files": files}))
    return folder


def graph_code(mark):
    text = f"open({str(mark)!r}, 'w').write('ran')\n"
    return {"body": {"_code": "def forward(self, x):\n    return x\n"}, "import_block": text}


def python(mark):
    return f"__import__('pathlib').Path({str(mark)!r}).touch()"


STRANGE = {
    # torch
    "torch.fx.graph_module:reduce_graph_module": graph_code,
    "torch.fx.graph_module:reduce_deploy_graph_module": graph_code,
    "torch.fx.graph_module:_deserialize_graph_module": graph_code,
    "torch.fx:GraphModule": lambda mark: {"root": {}, "graph": python(mark)},
    "torch.fx:symbolic_trace": lambda mark: {"root": "x"},
    "torch.jit:load": lambda mark: {"f": str(mark)},
    "torch.jit:ScriptModule": None,
    "torch.jit.frontend:get_jit_def": lambda mark: {"fn": "x", "def_name": "y"},
    "torch.hub:load": lambda mark: {"repo_or_dir": str(mark.parent), "model": "build", "source": "local"},
    "torch.hub:download_url_to_file": lambda mark: {"url": "file:///etc/hostname", "dst": str(mark)},
    "torch.package:PackageImporter": lambda mark: {"file_or_buffer": str(mark)},
    "torch.utils.cpp_extension:load_inline": lambda mark: {"name": "x", "cpp_sources": "int x;"},
    "torch.utils.model_zoo:load_url": lambda mark: {"url": "file:///etc/hostname"},
    "torch.utils.collect_env:run": lambda mark: {"command": f"touch {mark}"},
    "torch.utils._config_module:install_config_module": lambda mark: {"module": "x"},
    "torch.utils.checkpoint:checkpoint": None,
    "torch:load": lambda mark: {"f": str(mark), "weights_only": False},
    "torch:save": lambda mark: {"obj": 1, "f": str(mark)},
    "torch:compile": None,
    "torch.serialization:load": lambda mark: {"f": str(mark)},
    "torch.distributed.run:main": lambda mark: {"args": ["-m", "this"]},
    "torch.multiprocessing:spawn": None,
    "torch.export:load": lambda mark: {"f": str(mark)},
    "torch._inductor.codecache:PyCodeCache": None,
    "torch.ao.quantization:convert": None,
    "torch.nn:Linear": lambda mark: {"in_features": 4, "out_features": 3},
    "torch.nn.utils:prune": None,
    "torch.nn.init:normal_": None,
    "torch.nn.functional:linear": None,
    # numpy, scipy, pandas, scikit-learn, joblib, kfp
    "numpy:load": lambda mark: {"file": str(mark), "allow_pickle": True},
    "numpy:save": lambda mark: {"file": str(mark), "arr": [1]},
    "numpy.f2py:compile": lambda mark: {"source": "x"},
    "numpy.testing:runstring": lambda mark: {"astr": python(mark), "dict": {}},
    "scipy.io:loadmat": lambda mark: {"file_name": str(mark)},
    "pandas:eval": lambda mark: {"expr": "1 + 1"},
    "pandas:read_pickle": lambda mark: {"filepath_or_buffer": str(mark)},
    "sklearn.datasets:fetch_openml": lambda mark: {"name": "iris"},
    "joblib:load": lambda mark: {"filename": str(mark)},
    "kfp.components:load_component_from_file": lambda mark: {"file_path": str(mark)},
    "yaml:unsafe_load": lambda mark: {"stream": f"!!python/object/apply:os.system ['touch {mark}']"},
    "matplotlib.pyplot:savefig": lambda mark: {"fname": str(mark)},
    # the standard library
    "os:system": lambda mark: {"command": f"touch {mark}"},
    "os:abort": None,
    "posix:system": lambda mark: {"command": f"touch {mark}"},
    "subprocess:run": lambda mark: {"args": ["touch", str(mark)]},
    "builtins:exec": lambda mark: {"source": python(mark)},
    "builtins:eval": lambda mark: {"source": python(mark)},
    "importlib:import_module": lambda mark: {"name": "this"},
    "runpy:run_path": lambda mark: {"path_name": str(mark)},
    "pickle:loads": lambda mark: {"data": "x"},
    "shutil:rmtree": lambda mark: {"path": str(mark.parent)},
    "pathlib:Path": None,
    "code:interact": None,
    "timeit:timeit": lambda mark: {"stmt": python(mark), "number": 1},
    "cProfile:run": lambda mark: {"statement": python(mark)},
    "antigravity:fly": None,
    # transformers
    "transformers:pipeline": lambda mark: {"task": "text-generation", "model": "gpt2"},
    "transformers:AutoModel": lambda mark: {"pretrained_model_name_or_path": "gpt2", "trust_remote_code": True},
    "transformers:AutoConfig": None,
    "transformers.dynamic_module_utils:get_class_from_dynamic_module": lambda mark: {"class_reference": "a--b.c"},
    "transformers.models.bert.modeling_bert:BertModel": lambda mark: {"pretrained_model_name_or_path": "bert"},
    "transformers:BertModel": None,
    "transformers.models.bert.modeling_bert:eager_attention_forward": None,
    "transformers.utils:cached_file": lambda mark: {"path_or_repo_id": "gpt2", "filename": "config.json"},
    "transformers:Trainer": None,
    "huggingface_hub:snapshot_download": lambda mark: {"repo_id": "gpt2"},
    # reprune itself
    "reprune:load": lambda mark: {"folder": str(mark.parent), "allow": ["beside"]},
    "reprune.pruning.bundle:load": lambda mark: {"folder": str(mark.parent), "allow": ["beside"]},
    "reprune.workloadsish:build": None,
    "reprune.steps.context:Step": None,
    # names that are none, and names of nothing
    "torch.nn:Module.__init__": None,
    "torchvision.models:resnet18.__globals__": None,
    "shop.models:Net.made": None,
    "shop.models:Net": None,
    "shop.models:__builtins__": None,
    "__main__:build": None,
    "__builtins__:exec": None,
    ".beside:build": None,
    "..beside:build": None,
    "./beside:build": None,
    "beside:build": None,
    "beside": None,
    "beside.py:build": None,
    "beside:build\n": None,
    "beside\n:build": None,
    "beside: build": None,
    "beside:build:build": None,
    "beside:": None,
    ":build": None,
    "": None,
    "béside:build": None,
    "ｏｓ:system": None,
    "os\u200b:system": None,
    "lambda:0": None,
    "(lambda: 0)()": None,
    "beside;import os:system": None,
    "b" * 100_000 + ":build": None,
    "a." * 5000 + "a:build": None,
    "http://example.org/beside:build": None,
}


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: name[:60].encode("unicode_escape").decode())
def test_nothing_of_a_bundle_from_a_stranger_runs_or_is_imported(name, tmp_path, shop, monkeypatch):
    mark = tmp_path / "RAN"
    arguments = STRANGE[name](mark) if STRANGE[name] else {}
    folder = write(tmp_path / "bundle", name, arguments)
    (folder / "beside.py").write_text(python(mark) + "\n\n\ndef build():\n    pass\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    codecs.lookup("utf-8-sig")  # the codec that reads every text file is a module of its own
    before = set(sys.modules)
    with pytest.raises(RepruneError) as caught:
        reprune.load(folder)
    assert not mark.exists() and not list(shop.glob("[A-Z]*"))
    if not name.startswith("transformers"):  # its classes are looked at before they are refused
        assert set(sys.modules) == before
    assert caught.value.exit_code == 2 and caught.value.remedy and len(str(caught.value)) < 800


@pytest.mark.parametrize("model", [None, 3, True, ["os:system"], {"os": "system"}])
def test_a_name_that_is_no_text_is_no_bundle(model, tmp_path):
    with pytest.raises(InputError, match="not a bundle"):
        reprune.load(write(tmp_path / "b", model))


@given(st.text(max_size=30))
def test_any_text_but_an_entry_point_of_an_allowed_package_is_refused(text):
    allowed = Allowlist.of(["shop"])
    try:
        allowed.check(text, key="model")
    except InputError:
        return
    assert text.isascii() and text.startswith("shop") or text.startswith(("transformers", "reprune.workloads"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("shop.models:reduce_graph_module", "of torch"),
        ("shop.models:GraphModule", "made of code"),
        ("shop.models:Traced", "made of code"),
        ("shop.models:Scripted", "made of code"),
        ("shop.models:system", "not allowed"),
        ("shop.models:subprocess", "is a module, not a callable"),
        ("shop.models:Plain", "neither a subclass of torch.nn.Module nor"),
        ("shop.models:bare", "neither a subclass"),
        ("shop.models:wipe", "neither a subclass"),
        ("shop.models:lazily", "neither a subclass"),
        ("shop.models:made", "neither a subclass"),
        ("shop.models:model", "is a model already"),
        ("shop.models:nn", "is a module, not a callable"),
        ("shop.models:_Hidden", "private"),
        ("shop.models:__builtins__", "private"),
        ("shop.__main__:Net", "private"),
        ("shopping.models:Net", "not allowed"),
    ],
)
def test_of_an_allowed_package_only_its_own_models_are_built(name, why, tmp_path, shop):
    folder = write(tmp_path / "bundle", name)
    with pytest.raises(InputError, match=why) as caught:
        reprune.load(folder, allow=["shop"])
    assert repr(name) in str(caught.value)
    assert not (shop / "CALLED").exists()


@pytest.mark.parametrize(
    "name",
    ["torch.hub:load", "torch.fx:GraphModule", "numpy:load", "os:system", "builtins:exec", "transformers:pipeline"],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_no_loader_can_allow(name, whole, tmp_path):
    folder = write(tmp_path / "bundle", name, {"x": 1})
    with pytest.raises(InputError, match=name):
        reprune.load(folder, allow=[name if whole else name.partition(":")[0].partition(".")[0]])
    with pytest.raises(InputError, match=name):
        reprune.load(folder, factory=name)


@pytest.mark.parametrize(
    "arguments",
    [
        {"pretrained": True},
        {"weights": "DEFAULT"},
        {"weights_path": "x.pt"},
        {"checkpointPath": "x"},
        {"options": {"cache_dir": "x"}},
        {"name": "/etc/passwd"},
        {"name": "~/x"},
        {"name": "org/model"},
        {"name": "hf-hub:org"},
        {"names": ["https://example.org/x"]},
        {"name": "C:\\x"},
        {"trust_remote_code": True},
        {"names": ("x", "org/model")},
        {"stages": [({"path": "x.pt"}, 1)]},
        {"labels": {1: "org/model"}},
        {"labels": {("org/model", 2): 1}},
        {"pretrained": (True,)},
    ],
)
def test_arguments_that_name_files_or_downloads_are_for_the_loader_to_allow(arguments, tmp_path, shop):
    folder = write(tmp_path / "bundle", "shop.models:Net", arguments)
    with pytest.raises(InputError, match="a file or a download"):
        reprune.load(folder, allow=["shop"])
    assert reprune.load(folder, allow=["shop.models:Net"]).layer.out_features == 3


@pytest.mark.parametrize(
    ("name", "arguments", "allow"),
    [
        ("shop.models:Net", {}, ["shop"]),
        (
            "shop.models:Net",
            {"width": 3, "pretrained": False, "weights": None, "norm": "layer", "drop_path": 0.1},
            ["shop"],
        ),
        ("shop.models:Net", {}, ["numpyish", "shop.models"]),
        ("shop.models:Net", {}, "shop"),
        ("shop.models:Net", {}, ["shop.models:Net"]),
        ("shop.models:_Hidden", {}, ["shop.models:_Hidden"]),
        ("shop.models:build", {}, ["shop"]),
        ("shop.models:sized", {"width": 3}, ["shop"]),
        ("shop.models:bare", {}, ["shop.models:bare"]),
    ],
)
def test_what_the_loader_allows_is_built(name, arguments, allow, tmp_path, shop):
    folder = write(tmp_path / "bundle", name, arguments)
    assert reprune.load(folder, allow=allow).layer.out_features == 3
    assert reprune.load(folder, factory=name).layer.out_features == 3


@pytest.mark.parametrize(
    "allow", [[""], ["*"], ["shop."], ["shop models"], ["shop.models:"], [None], [b"shop"], ["shop\n"]]
)
def test_an_allowance_that_is_no_name_is_told(allow, tmp_path, shop):
    with pytest.raises(InputError, match="neither a package nor an entry point"):
        reprune.load(write(tmp_path / "bundle", "shop.models:Net"), allow=allow)


def test_the_message_says_what_was_refused_and_how_to_allow_it(tmp_path, shop):
    with pytest.raises(InputError) as caught:
        reprune.load(write(tmp_path / "bundle", "shop.models:Net"))
    assert "'shop.models:Net' is not allowed" in caught.value.message
    assert all(way in caught.value.remedy for way in ("allow=['shop']", "allow=['shop.models:Net']", "--allow shop"))
    assert not (shop / "IMPORTED").exists()


def test_layers_of_torch_take_numbers_and_nothing_else(tmp_path):
    layer = torch.nn.Linear(4, 3)
    reprune.save(layer, tmp_path / "b", arguments={"in_features": 4, "out_features": 3})
    for allow in (["torch.nn"], ["torch"], ["torch.nn.modules.linear:Linear"]):
        assert torch.equal(reprune.load(tmp_path / "b", allow=allow).weight, layer.weight)
    folder = write(tmp_path / "c", "torch.nn:Linear", {"in_features": 4, "out_features": 3, "device": "cuda"})
    with pytest.raises(InputError, match="nothing but numbers"):
        reprune.load(folder, allow=["torch.nn"])
    for hidden in (("cuda",), {1: "cuda"}, {("cuda", 1): 1}):
        folder = write(tmp_path / "d", "torch.nn:Linear", {"in_features": 4, "out_features": 3, "device": hidden})
        with pytest.raises(InputError, match="nothing but numbers"):
            reprune.load(folder, allow=["torch.nn"])


def test_the_workloads_that_ship_are_allowed(tmp_path):
    model = digits.build().eval()
    reprune.save(model, tmp_path / "b", factory="reprune.workloads.digits.model:build")
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(reprune.load(tmp_path / "b")(x), model(x))


def test_a_champion_of_your_own_names_its_package(tmp_path, shop):
    registry = Registry(open_store(tmp_path / "store"), "shop")
    version = registry.publish(write(tmp_path / "bundle", "shop.models:build"))
    registry.promote(version.id, reason="first", expected=None)
    assert callable(reprune.champion) and callable(reprune.champion)  # no module of its name takes its place
    with pytest.raises(InputError, match="not allowed"):
        reprune.champion("shop", tmp_path / "store").torch()
    assert reprune.champion("shop", tmp_path / "store").torch(allow=["shop"]).layer.out_features == 3
    assert reprune.champion("shop", tmp_path / "store", allow=["shop"]).torch().layer.out_features == 3
    assert reprune.champion("shop", tmp_path / "store").torch(factory="shop.models:build").layer.out_features == 3


class TestTransformers:
    """Its classes are built from their own config, which can fetch neither code nor weights."""

    @pytest.fixture
    def saved(self, tmp_path):
        from transformers import BertConfig, BertModel

        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        model = BertModel(BertConfig(vocab_size=11, _name_or_path="org/bert", **small)).eval()
        bundle.save(model, tmp_path / "bert")
        return model, tmp_path / "bert"

    def rewritten(self, folder, **keys):
        raw = json.loads((folder / "bundle.json").read_text())
        raw["arguments"]["config"] |= strict_json.encode(keys, "config")
        (folder / "bundle.json").write_text(json.dumps(raw))
        return folder

    def test_they_need_no_allowance(self, saved):
        model, folder = saved
        tokens = torch.tensor([[1, 2, 3]])
        assert torch.equal(reprune.load(folder)(tokens)[0], model(tokens)[0])

    def test_llama_too(self, tmp_path):
        from transformers import LlamaConfig, LlamaForCausalLM

        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=11, use_cache=False, **small)).eval()
        bundle.save(model, tmp_path / "llama")
        tokens = torch.tensor([[1, 2, 3]])
        assert torch.equal(reprune.load(tmp_path / "llama")(tokens)[0], model(tokens)[0])

    def test_where_code_came_from_is_left_out(self, saved):
        _, folder = saved
        keys = {"auto_map": {"AutoModel": "org/repo--modeling.Model"}, "custom_pipelines": {"x": {"impl": "y.z"}}}
        config = reprune.load(self.rewritten(folder, text_config=keys, **keys)).config
        assert not hasattr(config, "auto_map") and config.text_config == {}

    @pytest.mark.parametrize(
        "keys",
        [
            {"attn_implementation": "org/kernel"},
            {"_attn_implementation": "org/kernel@main:f"},
            {"_attn_implementation": {"": "sdpa", "text": "org/kernel"}},
            {"attn_implementation": "flash_attention_2"},
            {"experts_implementation": "org/kernel"},
            {"text_config": {"_attn_implementation": "org/kernel"}},
            {"layers": [{"attn_implementation": "org/kernel"}]},
            {"backbone": "org/resnet"},
            {"backbone": "resnet50"},
            {"trust_remote_code": True},
            {"pretrained": True},
            {"vocab_file": "vocab.txt"},
            {"architecture": "hf-hub:org"},
            {"model_args": {"checkpoint_path": "x.pt"}},
            {"anything": "/etc/passwd"},
            {"names": ("x", "/etc/passwd")},
            {"layers": ({"attn_implementation": "org/kernel"},)},
            {"labels": {1: {"vocab_file": "vocab.txt"}}},
            {"labels": {1: "/etc/passwd"}},
            {"labels": {("/etc/passwd", 1): 1}},
        ],
    )
    def test_keys_that_would_fetch_are_refused(self, saved, keys):
        _, folder = saved
        with pytest.raises(InputError, match="which no bundle may ask for"):
            reprune.load(self.rewritten(folder, **keys))

    @pytest.mark.parametrize(
        "keys",
        [
            {"attn_implementation": "eager"},
            {"_attn_implementation": {"": "sdpa"}},
            {"id2label": {"0": "and/or"}},
            {"pretrained_window_sizes": [1, 1]},
            {"pretraining_tp": 1},
            {"drop_path_rate": 0.1},
            {"use_pretrained_backbone": True},
            {"sizes": (1, 2), "names": {1: "a"}},
        ],
    )
    def test_keys_that_fetch_nothing_stay(self, saved, keys):
        _, folder = saved
        assert reprune.load(self.rewritten(folder, **keys)).config.hidden_size == 16

    def test_other_arguments_beside_the_config_are_refused(self, saved):
        _, folder = saved
        raw = json.loads((folder / "bundle.json").read_text())
        raw["arguments"]["add_pooling_layer"] = False
        (folder / "bundle.json").write_text(json.dumps(raw))
        with pytest.raises(InputError, match="built from its config alone"):
            reprune.load(folder)


class TestTheWorkingFolder:
    """It is never searched for what a bundle names, unless the user names the folder."""

    LOAD = "import sys, reprune; reprune.load(sys.argv[1], allow=['beside'])"

    @pytest.fixture
    def folder(self, tmp_path):
        folder = write(tmp_path / "bundle", "beside:Net")
        (folder / "beside.py").write_text(CODE)
        return folder

    def run(self, folder, *command, **environment):
        import os

        cleared = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [sys.executable, *command], cwd=folder, env=cleared | environment, capture_output=True, text=True
        )

    def test_python_c_does_not_find_it(self, folder):
        done = self.run(folder, "-c", self.LOAD, ".")
        assert "there is no module 'beside'" in done.stderr and not (folder / "IMPORTED").exists()

    def test_python_m_of_something_else_does_not_find_it(self, folder, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "loader_of_a_test.py").write_text(self.LOAD)
        code = (
            "import sys, runpy, os; sys.path[0] = os.getcwd(); sys.path.append(sys.argv.pop(1)); "
            "runpy.run_module('loader_of_a_test', run_name='__main__', alter_sys=True)"
        )
        done = self.run(folder, "-c", code, str(tmp_path / "elsewhere"), ".")
        assert "there is no module 'beside'" in done.stderr and not (folder / "IMPORTED").exists()

    def test_pythonpath_is_the_users_own_word(self, folder):
        for here in (".", str(folder)):
            done = self.run(folder, "-c", self.LOAD, ".", PYTHONPATH=here)
            assert done.returncode == 0, done.stderr

    def test_a_program_finds_what_lies_beside_it(self, folder):
        (folder / "serve.py").write_text(self.LOAD)
        for command in (("serve.py", "."), ("-m", "serve", ".")):
            done = self.run(folder, *command)
            assert done.returncode == 0, done.stderr

    def test_what_the_user_imported_is_found(self, folder):
        done = self.run(folder, "-c", f"import beside; {self.LOAD}", ".")
        assert done.returncode == 0, done.stderr

    def test_the_code_folder_of_a_workload_is_searched(self, folder):
        code = (
            "from reprune.config.entry_points import use_code; from reprune.pruning import bundle; import sys; "
            "use_code(sys.argv[1]); "
            "bundle.load('.', allow=['beside:Net'])"
        )
        done = self.run(folder, "-c", code, str(folder))
        assert done.returncode == 0, done.stderr

    def test_the_path_is_as_before_afterwards(self, shop, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "path", [*sys.path[:1], "", *sys.path[1:]])
        before = list(sys.path)
        reprune.load(write(tmp_path / "bundle", "shop.models:Net"), allow=["shop"])
        with pytest.raises(InputError):
            reprune.load(tmp_path / "bundle")
        assert sys.path == before


def test_a_bundle_of_the_first_release_still_loads(tmp_path, shop):
    """Its ``bundle.json`` as it was written then, key by key."""
    folder = write(tmp_path / "b", "shop.models:build")
    assert set(json.loads((folder / "bundle.json").read_text())) == {
        *("format", "model", "arguments", "parameters", "lineage", "files")
    }
    assert reprune.load(Path(folder), allow=["shop"]).layer.out_features == 3
