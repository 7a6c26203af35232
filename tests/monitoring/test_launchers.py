"""Where re-prunes run: a process of this machine, and a Kubeflow Pipelines server."""

import json
import os
import signal
import sys

import pytest

from reprune.drift.monitor.monitor_state import Launch
from reprune.errors import ClusterError, InputError
from reprune.monitoring.kubeflow import Kubeflow
from reprune.monitoring.launchers import Local
from tests.conftest import free_port
from tests.monitoring.programs import await_
from tests.pipelines.conftest import kubeflow  # noqa: F401  # a fixture


def launch(**changes):
    return Launch(id="ab12cd34", source="drift", fingerprint="f", reason="r", at=0.0, steady=0.0, **changes)


class Machine:
    """A launcher whose processes are scripts."""

    def __init__(self, folder):
        self.folder = folder

    def local(self, script=""):
        local = Local("digits", "store", self.folder / "runs")
        assert local.command[3:] == ["run", "digits", "--store", "store", "--trigger", "alert", "--json"]
        local.command = [sys.executable, "-c", script]
        return local


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ('print(\'{"outcome": "promoted"}\')', "promoted"),
        ('print(\'{"outcome": "rejected"}\'); raise SystemExit(1)', "rejected"),
        ('print(\'{"outcome": "something"}\')', "failed"),
        ("print('[]')", "failed"),
        ("raise SystemExit(3)", "failed"),
    ],
)
def test_a_process_ends_as_it_says(machine, script, outcome):
    local = machine.local(script)
    started = launch(handle=local.start(launch()))
    assert await_("its end", lambda: local.outcome(started)) == outcome


def test_a_process_outlives_its_monitor_and_is_found_again(machine, monkeypatch):
    monkeypatch.setenv("REPRUNE_MONITOR_TOKEN", "secret")
    script = "import os, time; print(os.environ.get('REPRUNE_MONITOR_TOKEN'), flush=True); time.sleep(60)"
    handle = machine.local(script).start(launch())
    again = machine.local()
    assert again.find(launch()) == handle
    assert again.outcome(launch(handle=handle)) is None
    said = machine.folder / "runs" / "ab12cd34.json"
    await_("what it says", said.read_text)
    os.kill(int(handle.split()[0]), signal.SIGKILL)
    os.waitpid(int(handle.split()[0]), 0)
    assert again.outcome(launch(handle=handle)) == "failed"
    assert said.read_text() == "None\n", "the token is not handed on"


def test_another_process_of_the_same_number_is_not_taken_for_it(machine):
    (machine.folder / "runs").mkdir()
    (machine.folder / "runs" / "ab12cd34.json").write_text(json.dumps({"outcome": "promoted"}))
    assert machine.local().outcome(launch(handle=f"{os.getpid()} 1")) == "promoted"


def test_what_was_never_started_is_not_found(machine):
    assert machine.local().find(launch()) is None


@pytest.fixture
def pipelines(kubeflow, monkeypatch, tmp_path):  # noqa: F811
    """A server that holds two versions of the pipeline."""
    monkeypatch.setenv("HOME", str(tmp_path))  # kfp keeps a context there
    made = kubeflow.do_CreatePipeline(query={}, body={"display_name": "reprune-digits", "name": "reprune-digits"})
    for name in ("old", "new"):
        identifier, created = kubeflow.stamp("version")
        of = {"pipeline_id": made["pipeline_id"], "pipeline_version_id": identifier}
        kubeflow.versions[identifier] = of | {"display_name": name, "name": name, "created_at": created}
    kubeflow.changes.clear()
    return kubeflow


def test_a_run_of_the_newest_version_is_started_and_followed(pipelines):
    launcher = Kubeflow("digits", pipelines.host)
    handle = launcher.start(launch())
    (run,) = pipelines.runs.values()
    newest = [name for name, it in pipelines.versions.items() if it["name"] == "new"]
    assert run["pipeline_version_reference"]["pipeline_version_id"] == newest[0]
    assert run["runtime_config"]["parameters"] == {"trigger": "alert"}
    assert launcher.find(launch()) == handle == run["run_id"]
    assert launcher.outcome(launch(handle=handle)) is None
    for state, outcome in (("SUCCEEDED", "succeeded"), ("FAILED", "failed"), ("CANCELED", "failed")):
        run["state"] = state
        assert launcher.outcome(launch(handle=handle)) == outcome
    del pipelines.runs[handle]
    assert launcher.outcome(launch(handle=handle)) == "lost" and launcher.find(launch()) is None


def test_a_run_that_is_in_flight_already_is_followed_in_place_of_a_second_one(pipelines):
    launcher = Kubeflow("digits", pipelines.host)
    first = launcher.start(launch())
    assert launcher.start(launch().model_copy(update={"id": "another"})) == first
    assert len(pipelines.runs) == 1


def test_a_server_that_does_not_answer_refuses_or_lacks_the_pipeline_says_so(pipelines):
    with pytest.raises(ClusterError, match="cannot be reached"):
        Kubeflow("digits", f"http://127.0.0.1:{free_port()}").start(launch())
    with pytest.raises(InputError, match="no pipeline reprune-other"):
        Kubeflow("other", pipelines.host).start(launch())
    pipelines.forbidden.add("CreateRun")
    with pytest.raises(ClusterError, match="not allow"):
        Kubeflow("digits", pipelines.host).start(launch())
    assert pipelines.runs == {}
