import json
import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from reprune.cli import registry as commands
from reprune.errors import InputError, IntegrityError, StoreError
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store

DENSE = {
    "model": "dense",
    "metric": "accuracy",
    "accuracy": 0.987,
    "accuracy_interval": [0.973, 0.994],
    "parameters": 272186,
    "size_bytes": 1.1e6,
    "p50_seconds": 2.01e-3,
    "p95_seconds": 2.1e-3,
}
SPEED = {
    "speed_up": 3.2,
    "speed_up_interval": [3.1, 3.4],
    "control": 1.0,
    "control_interval": [0.98, 1.02],
    "target": "cpu",
}
COMPARISON = [DENSE, DENSE | SPEED | {"model": "pruned", "parameters": 61004}]


@pytest.fixture
def uri(tmp_path):
    """A store with three versions of digits, promoted one after another."""
    registry = Registry(open_store(tmp_path / "store"), "digits")
    for name in "abc":
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.onnx").write_text(name)
        version = registry.publish(folder, {"run": f"run-{name}", "comparison": COMPARISON, "seed": 0})
        registry.promote(version.id, reason=f"[bold]{name}[/bold] passed", expected=registry.champion(), by="run 1")
    return str(tmp_path / "store")


@pytest.fixture
def registry(uri):
    return Registry(open_store(uri), "digits")


def invoke(*arguments, error=None):
    """Run a command in this process; returns what it prints, or the error that it raises for the caller to show."""
    app = typer.Typer()
    commands.register(app)
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "160", "REPRUNE_STORE": None})
    if error is None:
        assert done.exception is None, done.exception
        return done.output
    assert isinstance(done.exception, error), done.exception
    return str(done.exception)


def test_models_lists_every_version_with_its_state_and_reason(uri, registry):
    lines = invoke("models", "--store", uri).splitlines()
    champion = registry.champion()
    (row,) = [line for line in lines if champion.short in line]
    assert re.search(r"digits +\w{12} +champion .* 1 B +\[bold\]c\[/bold\] passed", row), (
        "brackets are shown as they are"
    )
    rows = json.loads(invoke("models", "--store", uri, "--json"))
    assert sorted(row["state"] for row in rows) == ["archived", "archived", "champion"]
    assert {row["version"] for row in rows} == set(registry.ids())


def test_models_says_so_when_there_are_none(tmp_path):
    assert "reprune run digits" in invoke("models", "--store", str(tmp_path / "none"))
    assert json.loads(invoke("models", "--store", str(tmp_path / "none"), "--json")) == []
    assert not (tmp_path / "none").exists()


def test_models_goes_on_past_what_is_damaged_or_gone(uri, registry):
    champion, damaged = registry.champion().version, registry.history()[0].version
    registry.store.put(f"registry/digits/versions/{damaged}/manifest.json", b"{}")
    registry.store.delete(f"registry/digits/versions/{champion}/manifest.json")
    states = {row["version"]: row["state"] for row in json.loads(invoke("models", "--store", uri, "--json"))}
    assert (states[damaged], states[champion], len(states)) == ("damaged", "gone", 3)
    assert "damaged" in invoke("models", "--store", uri)


def test_show_tells_what_the_champion_is_and_the_history(uri, registry):
    shown = invoke("show", "digits", "--store", uri)
    champion = registry.champion()
    for told in (
        champion.version,
        "(champion)",
        "98.7%",
        "272,186",
        "61,004",
        "run-c",
        "model.onnx",
        "[bold]a[/bold] passed",
    ):
        assert told in shown
    described = json.loads(invoke("show", "digits", "--store", uri, "--json"))
    assert described["champion"] is True
    assert described["lineage"]["comparison"] == COMPARISON
    assert [move["action"] for move in described["history"]] == ["promote"] * 3


def test_show_takes_the_first_digits_of_a_version(uri, registry):
    first = registry.history()[0].version
    described = json.loads(invoke("show", "digits", first[:8], "--store", uri, "--json"))
    assert (described["version"], described["champion"], described["state"]) == (first, False, "archived")


def test_show_tells_the_stage_of_what_is_on_trial_and_the_share_of_each_trial(uri, registry):
    former = registry.history()[0].version
    registry.try_out(former, 10, reason="once more", expected=registry.champion())
    shown = invoke("show", "digits", former, "--store", uri)
    assert "(canary, 10 %)" in shown and "canary, 10 %" in shown.split("once more")[0].splitlines()[-1]


def test_rollback_walks_back_and_tells_the_way_forward(uri, registry):
    a, b, c = (move.version for move in registry.history())
    shown = invoke("rollback", "digits", "--reason", "wrong on [rotated] scans", "--store", uri)
    assert f"digits {b[:12]}, was {c[:12]}: wrong on [rotated] scans" in shown
    assert f"reprune rollback digits --to {c[:12]}" in shown
    moved = json.loads(invoke("rollback", "digits", "--store", uri, "--json"))
    assert (moved["version"], moved["previous"]) == (a, b)
    assert moved["by"]
    invoke("rollback", "digits", "--to", c[:12], "--store", uri)
    assert registry.champion().version == c


def test_what_is_wrong_is_told_and_changes_nothing(uri, registry, tmp_path):
    before = registry.history()
    assert "has no workload 'digit'" in invoke("show", "digit", "--store", uri, error=InputError)
    assert "It has digits" in invoke("rollback", "digit", "--store", uri, error=InputError)
    assert "There is no version" in invoke("show", "digits", "0" * 64, "--store", uri, error=InputError)
    assert "There is no version" in invoke("rollback", "digits", "--to", "0" * 64, "--store", uri, error=InputError)
    assert "is a file" in invoke("models", "--store", str(tmp_path / "a" / "model.onnx"), error=StoreError)
    champion = registry.champion().version
    assert registry.history() == before
    registry.store.delete(f"registry/digits/versions/{champion}/manifest.json")
    assert "is gone from" in invoke("show", "digits", "--store", uri, error=IntegrityError)


def test_a_version_without_a_champion_is_named(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "x").write_text("x")
    version = Registry(open_store(tmp_path / "store"), "digits").publish(tmp_path / "bundle")
    told = invoke("show", "digits", "--store", str(tmp_path / "store"), error=InputError)
    assert "has no champion yet" in told
    assert version.short in told


@pytest.mark.parametrize("command", ["models", "show", "rollback"])
def test_help_teaches_with_an_example(command):
    assert f"Example: reprune {command}" in " ".join(invoke(command, "--help").split())


def reprune(*arguments, code, **environment):
    command = [sys.executable, "-m", "reprune", *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_command_line_reads_the_store_of_the_environment_and_ends_with_the_code_of_the_error(uri, registry):
    champion = registry.champion()
    assert champion.short in reprune("models", code=0, REPRUNE_STORE=uri).stdout
    assert "has no workload" in reprune("show", "digit", code=2, REPRUNE_STORE=uri).stderr
    registry.store.delete(f"registry/digits/versions/{champion.version}/manifest.json")
    assert "reprune rollback digits --to" in reprune("show", "digits", code=5, REPRUNE_STORE=uri).stderr


def test_the_command_line_works_on_s3(s3, tmp_path):
    (tmp_path / "x").write_text("x")
    registry = Registry(open_store(s3.uri), "digits")
    version = registry.publish(tmp_path)
    registry.promote(version.id, reason="good", expected=None)
    environment = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    shown = reprune("models", "--store", s3.uri, "--endpoint-url", s3.endpoint, code=0, **environment)
    assert version.short in shown.stdout
    assert "cannot be reached" in reprune("models", "--store", s3.uri, code=4, **environment).stderr
