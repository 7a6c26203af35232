"""A judged version waits until somebody approves it; nothing else can be approved."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from reprune import hashing
from reprune.cli.app import app
from reprune.errors import ConflictError, InputError, IntegrityError
from reprune.gate import approval, serving_probe
from reprune.gate.verdict import Check, conclude
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store


@pytest.fixture
def registry(tmp_path):
    return Registry(open_store(tmp_path / "store"), "digits")


def adds(number: float, path: Path) -> None:
    """Write a model that adds a number."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy")
    number = helper.make_tensor("number", TensorProto.FLOAT, [], [number])
    graph = helper.make_graph([helper.make_node("Add", ["x", "number"], ["y"])], "adds", [x], [y], [number])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(made.SerializeToString())


@pytest.fixture
def publish(registry, tmp_path):
    """Publish a version as the promote step does; `altered` names a file that changes after the verdict."""

    def publish(name, *, passed=True, altered="", verdict=True, recorded=True):
        folder = tmp_path / name
        folder.mkdir()
        adds(float(ord(name[0])), folder / "model.onnx")
        (folder / "bundle.json").write_text(name)
        x = np.array([1, 2], np.float32)
        if recorded:
            serving_probe.record(folder / "requests.npz", {"x": x}, [x + ord(name[0])])
        check = Check(
            name="quality",
            family="quality",
            severity="block",
            status="passed" if passed else "failed",
            statement=f"{name} was looked at",
        )
        digests = {f"{key}_sha256": hashing.of_file(folder / file) for key, file in JUDGED.items()}
        if verdict:
            (folder / "verdict.json").write_text(conclude([check], **digests, examples=10).model_dump_json())
        if altered == "model.onnx":
            adds(0.0, folder / "model.onnx")
        if altered == "bundle.json":
            (folder / "bundle.json").write_text("another")
        if altered == "requests.npz":
            serving_probe.record(folder / "requests.npz", {"x": x}, [x])
        champion = registry.pointer()
        compared_with = champion.model_dump(mode="json") if champion else None
        return registry.publish(folder, {"compared_with": compared_with, "targets": [{"threads": 1}]})

    return publish


JUDGED = {"candidate": "model.onnx", "bundle": "bundle.json"}


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
        ({"altered": "model.onnx"}, IntegrityError, "The model.onnx of version .* is not the one that the gate judged"),
        ({"altered": "bundle.json"}, IntegrityError, "The bundle.json of version .* is not the one that the gate"),
        ({"altered": "requests.npz"}, IntegrityError, "does not serve on CPU, 1 thread, batch 1: it answers otherwise"),
        ({"recorded": False}, InputError, "has no 'requests.npz'"),
        ({"verdict": False}, InputError, "no verdict"),
    ],
)
def test_nothing_else_can_be_approved(registry, publish, how, error, told):
    version = publish("a", **how)
    with pytest.raises(error, match=told):
        approval.approve(registry, version.id)
    assert registry.champion() is None


def test_a_copy_that_rots_in_the_store_is_not_approved(registry, publish):
    version = publish("a")
    key = f"registry/digits/versions/{version.id}/files/model.onnx"
    whole = registry.store.get(key)
    registry.store.put(key, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="damaged"):
        approval.approve(registry, version.id)
    assert registry.champion() is None


def test_a_target_that_this_machine_lacks_stops_nobody_from_approving(registry, publish):
    version = publish("a")
    folder = registry.fetch(version, Path(registry.store.uri) / "copy")
    elsewhere = registry.publish(folder, version.lineage | {"targets": [{"provider": "ElsewhereExecutionProvider"}]})
    assert approval.approve(registry, elsewhere.id).version == elsewhere.id


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
