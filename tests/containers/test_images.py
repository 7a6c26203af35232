"""What is in the images, and what is not."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
import yaml
from onnx import helper, numpy_helper
from pyarrow import csv, parquet

from reprune import __version__
from reprune.storage.uri import open_store
from tests.monitoring import production
from tests.monitoring.test_without_torch import WORK

TARGETS = ("runtime", *(pytest.param(it, marks=pytest.mark.slow) for it in ("monitor", "train")))
every_image = pytest.mark.parametrize("target", TARGETS)
ROOT = Path(__file__).parents[2]
LISTING = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"


CLASSES = np.random.default_rng(0).standard_normal((64, 10), dtype=np.float32)


def save_network(path, width):
    """Write two layers that put 64 numbers into 10 classes; whatever the width, the classes are the same."""
    weights = [np.eye(64, width, dtype=np.float32), np.eye(width, 64, dtype=np.float32) @ CLASSES]
    ends = [helper.make_tensor_value_info(*it) for it in (("x", 1, ["batch", 64]), ("y", 1, ["batch", 10]))]
    nodes = [helper.make_node("MatMul", *it) for it in ((["x", "w0"], ["hidden"]), (["hidden", "w1"], ["y"]))]
    held = [numpy_helper.from_array(value, f"w{place}") for place, value in enumerate(weights)]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A wide and a narrow network with what a gate needs, as a volume to read."""
    folder = tmp_path_factory.mktemp("models")
    for name, width in (("wide", 2048), ("narrow", 64)):
        save_network(folder / f"{name}.onnx", width)
    inputs = np.random.default_rng(1).standard_normal((400, 64), dtype=np.float32)
    np.savez(folder / "test.npz", inputs=inputs, targets=(inputs @ CLASSES).argmax(axis=1))
    policy = {
        "name": "files",
        "splits": {"test": "test.npz"},
        "budget": {"accuracy_drop": 0.02},
        "gate": {"latency": "warn", "tail_latency": "warn", "extreme_latency": "warn"},  # on a busy machine
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)
    return {str(folder): {"bind": "/models", "mode": "ro"}}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(target):
    """Return what a lock names, by version."""
    name = "train-cpu" if target == "train" else target
    text = (ROOT / "manifests" / "images" / f"{name}.lock").read_text()
    return {normal(n): v for n, v in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


@every_image
def test_it_runs_as_anybody_without_a_network_on_a_read_only_root(image, inside, target):
    name = image(target)
    assert __version__ in inside(name, "reprune", "--version", user="12345:12345", entrypoint="")
    assert inside(name, "id", "-u", entrypoint="") == "65532"


@every_image
def test_it_holds_what_its_lock_says_and_nothing_else_and_lists_it(image, inside, target):
    name = image(target)
    installed = json.loads(inside(name, "python3", "-c", LISTING, entrypoint=""))
    expected = locked(target) | {"reprune": __version__}
    assert {normal(it): version for it, version in installed.items()} == expected
    listed = json.loads(inside(name, "cat", "/usr/share/sbom/reprune.cdx.json", entrypoint=""))
    assert {normal(it["name"]): it["version"] for it in listed["components"]} == expected


@every_image
def test_no_tool_to_build_or_install_is_left_in_what_was_added_to_the_base(image, inside, target):
    name = image(target)
    found = inside(name, "find", "/opt/reprune", "-name", "pip", "-o", "-name", "*.whl", entrypoint="")
    assert not found
    assert not {"wheels", "src", "locks"} & set(inside(name, "ls", "/", entrypoint="").split())


@pytest.mark.parametrize("target", TARGETS[:2])
def test_images_without_torch_are_small(engine, image, target):
    assert engine.images.get(image(target)).attrs["Size"] < 600e6


@every_image
def test_labels_say_what_it_is(engine, image, target):
    labels = engine.images.get(image(target)).labels
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.title"] == f"reprune-{target}"
    assert {"licenses", "revision", "description", "base.name"} <= {it.rpartition("image.")[2] for it in labels}


@pytest.mark.parametrize("step", ["benchmark", "publish_metrics", "rollback"])
def test_the_steps_that_need_no_torch_can_be_imported_without_it(image, inside, step):
    code = (
        f"import sys, kfp.dsl.executor_main, reprune.steps.context, reprune.steps.{step}; print('torch' in sys.modules)"
    )
    assert inside(image("runtime"), "python3", "-c", code) == "False"


def test_the_runtime_times_onnx_files(image, inside, models):
    command = ("reprune", "benchmark", "/models/wide.onnx", "/models/narrow.onnx", "--seconds", "1", "--json")
    assert "narrow" in inside(image("runtime"), *command, volumes=models, user="12345")


def test_the_runtime_judges_onnx_files(image, inside, models):
    command = ("reprune", "gate", "--candidate", "/models/narrow.onnx", "--dense", "/models/wide.onnx")
    options = ("--policy", "/models/policy.yaml", "--seconds", "0.5", "--json", "--html", "/tmp/gate.html")
    verdict = json.loads(inside(image("runtime"), *command, *options, volumes=models, user="12345"))
    assert verdict["passed"] and verdict["examples"] == 400
    status = {check["name"]: check["status"] for check in verdict["checks"]}
    assert status["quality against dense"] == "passed" and status["serving"] == "passed"


@pytest.mark.slow
def test_the_monitor_judges_windows_of_every_format(image, inside, tmp_path):
    store = open_store(tmp_path / "store")
    production.promote(store, tmp_path / "champion")
    calm, moved = production.inputs(100, seed=10), production.inputs(100, seed=11, shift=2.0)
    production.log_window(store, "1-arrays", seed=10)
    folder = next((tmp_path / "store" / "logs" / production.NAME).iterdir())
    parquet.write_table(pa.table({"input": list(moved)}), folder / "2-rows.parquet")
    csv.write_csv(pa.table({"score": calm[:, 0]}), folder / "3-scores.csv")
    for path in (tmp_path, *tmp_path.parents[:2], *tmp_path.rglob("*")):
        path.chmod(0o777)
    volumes = {str(tmp_path / "store"): {"bind": "/store", "mode": "rw"}}
    work = inside(image("monitor"), "python3", "-c", WORK, "/store", "{}", entrypoint="", volumes=volumes)
    first, second, third, requests = work.splitlines()
    assert first.startswith("no drift") and second.startswith("drift") and requests == "[]"
    assert third.startswith("broken 3-scores.csv lacks input"), "it was read, and has no inputs"
