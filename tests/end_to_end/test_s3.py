"""The same loop with an S3 bucket in place of the folder, and the store going wrong in each way it can."""

import json
import os
import subprocess
import sys

from reprune.registry.registry import Registry
from reprune.storage.uri import open_store


def test_the_loop_runs_on_s3_as_on_a_folder(project, s3):
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    store = ["--store", s3.uri, "--endpoint-url", s3.endpoint]
    first = project.run("workload.yaml", *store, **aws)
    assert first["outcome"] == "promoted"
    assert project.run("workload.yaml", *store, **aws)["outcome"] == "nothing-to-do"
    shown = json.loads(project("show", "shapes", "--json", *store, **aws).stdout)
    assert shown["version"] == first["version"]
    assert not (project.folder / "reprune-store").exists()
    code = (
        f"import reprune\nchampion = reprune.champion('shapes', {s3.uri!r}, endpoint_url={s3.endpoint!r})\n"
        "print(champion.onnx().get_inputs()[0].name)"
    )
    environment = project.environment | aws
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "input" in done.stdout, done.stderr
    written = [path.read_bytes() for path in (project.folder / ".reprune").rglob("*") if path.is_file()]
    assert not [data for data in written if aws["AWS_SECRET_ACCESS_KEY"].encode() in data], "a secret was written down"


def test_a_server_that_is_not_there_is_told_in_seconds(project):
    aws = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "do-not-tell"}
    arguments = ["--store", "s3://bucket/prefix", "--endpoint-url", "http://127.0.0.1:9"]
    done = project("run", "workload.yaml", *arguments, code=4, **aws)
    assert "s3://bucket/prefix" in done.stderr and "→" in done.stderr and "do-not-tell" not in done.stderr


def test_a_store_that_is_a_file_is_told(project):
    (project.folder / "file").write_text("hello")
    assert "file" in project("run", "workload.yaml", "--store", "file", code=4).stderr


def champion(folder, files):
    """Publish and promote some files, as somebody else's champion."""
    registry = Registry(open_store(folder), "shapes")
    (folder / "content").mkdir(parents=True)
    for name, data in files.items():
        (folder / "content" / name).write_bytes(data)
    version = registry.publish(folder / "content", {"by": "a test"})
    registry.promote(version.id, reason="a test", expected=None)
    return version


def test_a_champion_that_is_gone_is_told(project):
    store = project.folder / "gone-store"
    version = champion(store, {"model.onnx": b"x", "reference.safetensors": b"y"})
    (store / "registry" / "shapes" / "versions" / version.id / "manifest.json").unlink()
    done = project("run", "workload.yaml", "--store", store, code=5)
    assert version.short in done.stderr and "gone" in done.stderr and "rollback" in done.stderr


def test_a_flipped_byte_in_the_champion_is_told(project):
    store = project.folder / "flipped-store"
    version = champion(store, {"model.onnx": b"x" * 100, "reference.safetensors": b"y"})
    path = store / "registry" / "shapes" / "versions" / version.id / "files" / "model.onnx"
    path.chmod(0o644)
    path.write_bytes(b"x" * 99 + b"z")
    done = project("run", "workload.yaml", "--store", store, code=5)
    assert "model.onnx" in done.stderr and "sha256" in done.stderr
