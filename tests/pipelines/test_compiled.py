"""The compiled pipeline, held against what it was when somebody last looked at it."""

import json
from pathlib import Path

import pytest
import yaml

from reprune.config import loading
from reprune.errors import InputError
from reprune.pipelines.compiling import compile_pipeline
from reprune.steps.context import Step

SNAPSHOTS = Path(__file__).parent / "snapshots"


def compiled(loaded, folder, **options):
    compile_pipeline(loaded, folder / "pipeline.yaml", store="reprune-store", **options)
    return next(iter(yaml.safe_load_all((folder / "pipeline.yaml").read_text())))


@pytest.fixture(scope="module")
def digits_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "pipeline.yaml"
    compile_pipeline(loading.load("digits"), path, store="reprune-store")
    return path


@pytest.fixture(scope="module")
def digits(digits_file):
    return next(iter(yaml.safe_load_all(digits_file.read_text())))


def tasks_of(spec):
    """Return every task of every graph of a pipeline, by name."""
    graphs = [spec["root"], *(c for c in spec["components"].values() if "dag" in c)]
    return {name: task for graph in graphs for name, task in graph["dag"]["tasks"].items()}


@pytest.fixture(scope="module")
def log_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "pipeline.yaml"
    compile_pipeline(loading.load("digits"), path, store="reprune-store", log="s3://logs/digits", shards=3)
    return path


@pytest.mark.parametrize(("snapshot", "file"), [("digits.yaml", "digits_file"), ("digits-log.yaml", "log_file")])
def test_a_compiled_pipeline_is_the_one_that_was_looked_at(request, snapshot, file):
    expected = list(yaml.safe_load_all((SNAPSHOTS / snapshot).read_text()))
    found = list(yaml.safe_load_all(request.getfixturevalue(file).read_text()))
    for spec in (found[0], expected[0]):
        del spec["sdkVersion"]
    assert found == expected, "look at the difference; `make snapshot` accepts it"


def test_every_step_runs_in_our_image_and_installs_nothing(digits):
    for executor in digits["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"].startswith(("reprune-train:", "reprune-runtime:"))
        assert "pip install" not in " ".join(executor["container"]["command"])


def test_the_image_can_be_another_one(tmp_path):
    spec = compiled(loading.load("digits"), tmp_path, image="registry.example/mine@sha256:" + "0" * 64)
    images = {executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()}
    assert images == {"registry.example/mine@sha256:" + "0" * 64}


def test_nothing_is_taken_from_kfp_s_cache(digits):
    cached = [name for name, task in tasks_of(digits).items() if task.get("cachingOptions", {}).get("enableCache")]
    assert not cached, "a cached decision would never see new data"


def test_metrics_are_published_however_the_run_ends(digits):
    policy = tasks_of(digits)["publish-metrics"]["triggerPolicy"]
    assert policy["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_each_target_has_steps_of_its_own_that_follow_one_another(tmp_path):
    two = loading.load("digits").replace(target=[{"batch_size": 1}, {"batch_size": 32}])
    tasks = tasks_of(compiled(two, tmp_path))
    assert "benchmark" in tasks["benchmark-2"]["dependentTasks"]
    assert {"benchmark", "benchmark-2"} <= set(tasks["gate"]["dependentTasks"])
    assert {"profile-hardware", "profile-hardware-2"} <= set(tasks["prune"]["dependentTasks"])


def test_no_secret_travels_in_the_pipeline(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    compile_pipeline(loading.load("digits"), tmp_path / "pipeline.yaml", store="s3://bucket/prefix")
    assert "do-not-tell" not in (tmp_path / "pipeline.yaml").read_text()


def test_the_code_of_a_small_workload_travels_in_the_pipeline(tmp_path):
    (tmp_path / "nets.py").write_text("def build(): ...\n")
    (tmp_path / "workload.yaml").write_text("name: mine\nmodel: nets:build\ndata: nets:load\n")
    spec = compiled(loading.load(str(tmp_path / "workload.yaml")), tmp_path)
    default = json.loads(spec["root"]["inputDefinitions"]["parameters"]["workload"]["defaultValue"])
    with Step("gate", workload=json.dumps(default), store=str(tmp_path / "store"), run="r") as step:
        assert (Path(step.workload.code) / "nets.py").read_text() == "def build(): ...\n"


def test_a_folder_of_the_image_is_named_as_it_is(tmp_path):
    loaded = loading.load("digits").replace(code="/opt/somewhere/else")
    spec = compiled(loaded, tmp_path)
    assert "/opt/somewhere/else" in spec["root"]["inputDefinitions"]["parameters"]["workload"]["defaultValue"]


@pytest.mark.parametrize(
    ("changes", "told"), [({"weights": "dense.safetensors"}, "weights"), ({"splits": {"test": "t.npz"}}, "splits.test")]
)
def test_files_of_this_machine_are_refused_and_those_of_the_image_are_not(tmp_path, changes, told):
    (name,) = changes["splits"].values() if "splits" in changes else changes.values()
    raw = {"name": "mine", "model": "nowhere:build", "data": "nowhere:load"}

    def load(changes):
        (tmp_path / "workload.yaml").write_text(yaml.safe_dump(raw | changes))
        return loading.load(str(tmp_path / "workload.yaml"))

    with pytest.raises(InputError, match=f"{told}: there is no file {tmp_path}/{name}"):
        compiled(load(changes), tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{told}: {tmp_path}/{name} is a file of this machine") as error:
        compiled(load(changes), tmp_path)
    assert "into the image" in error.value.remedy
    elsewhere = {"weights": "/models/x.safetensors", "splits": {"train": "/data/x.npz", "test": "nowhere:test"}}
    assert "/models/x.safetensors" in json.dumps(compiled(load(elsewhere), tmp_path))
