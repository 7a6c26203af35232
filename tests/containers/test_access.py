"""What the containers of a run may reach follows from what the run needs."""

import pytest

from reprune.config import loading
from reprune.errors import InputError
from reprune.events import WATCHER
from reprune.pipelines.containers import Containers


@pytest.fixture
def containers(engine, tmp_path, monkeypatch):
    for name in ("REPRUNE_PUSHGATEWAY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    monkeypatch.setenv("UNRELATED_TOKEN", "do-not-tell-either")

    def make(store="store", **changes):
        loaded = loading.load("digits").replace(**changes)
        return Containers(loaded, store=store if "://" in store else str(tmp_path / store), folder=tmp_path / "run")

    return make


def test_with_everything_on_this_disk_there_is_no_network(containers):
    assert containers().network == "none"


@pytest.mark.parametrize("options", [{"store": "s3://bucket/prefix"}, {"weights": "s3://bucket/dense.safetensors"}])
def test_with_something_remote_there_is_this_machine_s_network_and_the_credentials(containers, options):
    one = containers(**options)
    assert one.network == "host"
    assert one.environment({})["AWS_ACCESS_KEY_ID"] == "who"


def test_a_pushgateway_is_remote_too(containers, monkeypatch):
    monkeypatch.setenv("REPRUNE_PUSHGATEWAY", "gateway:9091")
    assert containers().network == "host"


def test_only_what_concerns_the_steps_is_passed_on(containers, monkeypatch):
    monkeypatch.setenv(WATCHER, "4711")  # a process that a container would take for gone
    assert not {"UNRELATED_TOKEN", WATCHER} & set(containers().environment({}))
    assert containers().environment({"REPRUNE_EVENTS": "here"})["REPRUNE_EVENTS"] == "here"


def test_the_disk_is_seen_where_the_workload_names_it_to_read_or_where_steps_write(containers, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "window.npz").touch()
    one = containers(code=str(tmp_path / "code"), splits={"production": str(tmp_path / "window.npz")})
    arguments = one.runner().container_run_args
    writable = {mount["Target"] for mount in arguments["mounts"] if not mount["ReadOnly"]}
    readable = {mount["Target"] for mount in arguments["mounts"] if mount["ReadOnly"]}
    assert writable == {str(tmp_path / "store"), str(tmp_path / "run")}
    assert readable == {str(tmp_path / "code"), str(tmp_path / "window.npz")}
    assert arguments["read_only"] and arguments["cap_drop"] == ["ALL"]


def test_a_file_that_is_missing_is_named_before_anything_starts(containers, tmp_path):
    with pytest.raises(InputError, match=r"weights: there is no file /.*/absent\.safetensors"):
        containers(code=str(tmp_path), weights=str(tmp_path / "absent.safetensors"))


def test_a_path_that_is_not_on_this_disk_is_one_of_the_image(containers):
    one = containers(code="/opt/not-here", weights="/models/not-here.safetensors")
    assert not [it for it in one.runner().container_run_args["mounts"] if it["ReadOnly"]] and one.network == "none"
