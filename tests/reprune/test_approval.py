"""A judged version waits until somebody approves it; nothing else can be approved."""

import json

import pytest
from typer.testing import CliRunner

from reprune import approval, digest
from reprune.cli.app import app
from reprune.errors import ConflictError, InputError, IntegrityError
from reprune.gate.verdict import Check, conclude
from reprune.registry import Registry
from reprune.store import open_store


@pytest.fixture
def registry(tmp_path):
    return Registry(open_store(tmp_path / "store"), "digits")


@pytest.fixture
def publish(registry, tmp_path):
    def publish(name, *, passed=True, altered=False, verdict=True):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.onnx").write_text(name)
        check = Check(
            name="quality",
            family="quality",
            severity="block",
            status="passed" if passed else "failed",
            statement=f"{name} was looked at",
        )
        said = conclude([check], candidate_sha256=digest.of_file(folder / "model.onnx"), examples=10)
        if verdict:
            (folder / "verdict.json").write_text(said.model_dump_json())
        if altered:
            (folder / "model.onnx").write_text("another")
        champion = registry.pointer()
        return registry.publish(folder, {"compared_with": champion.model_dump(mode="json") if champion else None})

    return publish


def test_what_waits_becomes_champion_and_then_waits_no_more(registry, publish):
    first = publish("a")
    assert [version.id for version in approval.waiting(registry)] == [first.id]
    champion = approval.approve(registry, first.short, by="eve")
    assert champion.version == first.id and champion.reason == "1 check passed"
    assert approval.waiting(registry) == []
    second = publish("b")
    assert approval.approve(registry, second.id, canary=10).percent == 10
    assert registry.champion().version == first.id
    assert approval.approve(registry, second.id, reason="a good week").reason == "a good week"


def test_what_was_compared_with_a_former_champion_cannot_be_approved(registry, publish):
    approval.approve(registry, publish("a").id)
    late, early = publish("late"), publish("early")
    approval.approve(registry, early.id)
    with pytest.raises(ConflictError, match="somebody else was first"):
        approval.approve(registry, late.id)
    with pytest.raises(ConflictError):
        approval.approve(registry, late.id, canary=5)
    assert registry.champion().version == early.id
    assert approval.waiting(registry) == []


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ({"passed": False}, InputError, "refused version"),
        ({"altered": True}, IntegrityError, "not the one that the gate judged"),
        ({"verdict": False}, InputError, "no verdict"),
    ],
)
def test_nothing_else_can_be_approved(registry, publish, how, error, told):
    version = publish("a", **how)
    with pytest.raises(error, match=told):
        approval.approve(registry, version.id)
    assert registry.champion() is None


def test_the_commands(registry, publish):
    def invoke(*arguments):
        done = CliRunner().invoke(app, [*arguments, "--store", registry.store.uri], env={"COLUMNS": "160"})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    first = publish("a")
    assert f"champion  digits {first.short}" in invoke("approve", "digits")
    second = publish("b")
    assert "10 % of the traffic" in invoke("approve", "digits", second.short, "--canary", "10")
    states = {row["version"]: row["state"] for row in json.loads(invoke("models", "--json"))}
    assert states == {first.id: "champion", second.id: "canary, 10 %"}
    assert f"withdrawn  digits {second.short}" in invoke("withdraw", "digits", "--reason", "slow")
    assert json.loads(invoke("approve", "digits", "--canary", "0", "--json"))["percent"] == 0
    publish("c")
    with pytest.raises(InputError, match="2 versions of digits wait"):
        invoke("approve", "digits")
