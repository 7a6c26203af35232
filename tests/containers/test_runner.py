"""``reprune run --runner docker``: the same loop, each step in its container."""

import io
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.timeout(3600)  # a whole loop is in here, and on a busy machine

PAGE = Path(__file__).parents[2] / "docs" / "containers.md"
SHIPPED = Path(__file__).parents[2] / "reprune" / "workloads"


def variant(caller, file, **changes):
    raw = yaml.safe_load((caller.folder / "workload.yaml").read_text()) | changes
    (caller.folder / file).write_text(yaml.safe_dump(raw))
    return file


def texts(caller, name):
    """Return what the steps of the last run of a workload told."""
    folder = max((caller.folder / ".reprune" / name).iterdir())
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [event.get("text") or event.get("message") or "" for event in events]


def registry(caller):
    folder = caller.folder / "reprune-store" / "registry"
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_image_that_is_missing_is_named_before_anything_starts(engine, caller):
    done = caller("run", "workload.yaml", "--runner", "docker", "--image", "nobody/has:this", code=2)
    assert "no image nobody/has:this" in done.stderr and "make images" in done.stderr


def test_an_image_of_another_version_is_named_before_anything_starts(engine, image, caller):
    recipe = f"FROM {image('runtime')}\nLABEL org.opencontainers.image.version=0.9.0\n"
    engine.images.build(fileobj=io.BytesIO(recipe.encode()), tag="reprune-test:other-version", rm=True)
    done = caller("run", "workload.yaml", "--runner", "docker", "--image", "reprune-test:other-version", code=2)
    assert "reprune-test:other-version has reprune 0.9.0" in done.stderr


def test_a_step_without_what_it_needs_in_its_image_fails_and_says_so(image, caller):
    done = caller("run", "workload.yaml", "--runner", "docker", "--image", image("runtime"), code=3)
    assert "A step could not be started: ModuleNotFoundError" in done.stderr


def test_no_engine_is_one_message(caller, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    done = caller("run", "workload.yaml", "--runner", "docker", code=2)
    assert "no Docker engine answers at tcp://127.0.0.1:9" in done.stderr


def test_an_engine_on_another_machine_is_refused(caller, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "ssh://somebody@elsewhere")
    done = caller("run", "workload.yaml", "--runner", "docker", code=2)
    assert "ssh://somebody@elsewhere is on another machine" in done.stderr


def test_an_image_without_containers_is_refused(caller):
    done = caller("run", "workload.yaml", "--image", "reprune-train:0.1.0", code=2)
    assert "--runner docker" in done.stderr


@pytest.fixture(scope="module")
def promoted(image, caller):
    image("runtime"), image("train")
    return caller.run("workload.yaml")


@pytest.mark.slow
def test_the_loop_promotes(caller, promoted):
    assert promoted["outcome"] == "promoted"
    dense, pruned = promoted["comparison"]
    assert pruned["parameters"] < dense["parameters"]
    assert [it["workload"] for it in json.loads(caller("models", "--json").stdout)] == ["shapes"]


@pytest.mark.slow
def test_whatever_the_steps_wrote_belongs_to_the_caller(caller, promoted):
    written = [it for top in ("reprune-store", ".reprune") for it in (caller.folder / top).rglob("*")]
    assert {path.stat().st_uid for path in written} == {caller.user}


@pytest.mark.slow
def test_each_step_ran_in_the_image_that_it_needs_without_a_network(engine, caller, promoted):
    logs = [it.read_text() for it in (caller.folder / ".reprune" / "shapes").glob("*/log.txt")]
    used = [set(re.findall(r"Found image 'reprune-(\w+):", it)) for it in logs]
    assert {"train", "runtime"} in used
    assert not engine.containers.list(all=True, filters={"label": "dev.reprune.run"}), "containers were left behind"


@pytest.mark.slow
def test_the_loop_rejects_and_the_champion_stays(caller, promoted):
    strict = variant(caller, "strict-shapes.yaml", budget={"latency": "0.6x", "accuracy_drop": 0.0})
    before = registry(caller)
    rejected = caller.run(strict, "--force", code=1)
    assert rejected["outcome"] == "rejected" and rejected["reasons"]
    assert registry(caller) == before


@pytest.mark.slow
def test_an_interrupted_run_keeps_its_last_step_leaves_no_container_and_goes_on(engine, caller, promoted):
    name = variant(caller, "long.yaml", name="interrupted", train={"epochs": 200})
    store = caller.folder / "interrupted-store"
    running = caller.start("run", name, "--runner", "docker", "--store", store)
    deadline = time.monotonic() + 300
    while not list(store.glob("checkpoints/interrupted/*/fit*")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 130 and "goes on from there" in " ".join(out.split())
    assert not engine.containers.list(all=True, filters={"label": "dev.reprune.run"}), "containers were left behind"
    assert "everything up to there is kept" in texts(caller, "interrupted")[-1], (
        "the training's last step, as on SIGTERM"
    )
    assert caller.run(name, "--store", store)["outcome"] == "promoted"
    told = texts(caller, "interrupted")
    assert any("epoch 200 of 200" in text for text in told)
    assert not any("epoch 1 of 200" in text for text in told), "a finished epoch was done again"


@pytest.mark.slow
@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_the_loop_with_its_store_on_s3_reaches_that_alone(image, caller, s3):
    image("runtime"), image("train")
    variables = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
    ended = caller.run("workload.yaml", "--store", s3.uri, **variables)
    assert ended["outcome"] == "promoted"
    written = [it["Key"] for it in s3.client.list_objects_v2(Bucket=s3.bucket)["Contents"]]
    assert any(it.startswith("prefix/registry/shapes/") for it in written)
    assert "testing-secret" not in "".join(it.read_text() for it in (caller.folder / ".reprune").rglob("log.txt"))


@pytest.mark.slow
def test_a_workload_in_an_image_of_its_own_by_the_template_of_the_page(engine, image, caller):
    context = caller.folder / "context"
    (context / "my_project").mkdir(parents=True)
    (context / "my_project" / "__init__.py").touch()
    (context / "my_project" / "nets.py").write_text((caller.folder / "shapes.py").read_text())
    (context / "requirements.txt").touch()
    template = re.search(r"^```dockerfile file=Containerfile\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (context / "Containerfile").write_text(template[1])
    options = {"dockerfile": "Containerfile", "buildargs": {"IMAGE": image("train")}, "network_mode": "none"}
    engine.images.build(path=str(context), tag="reprune-test:own-code", rm=True, **options)
    (caller.folder / "elsewhere").mkdir()
    own = {"name": "own", "model": "my_project.nets:build", "data": "my_project.nets:load"}
    raw = yaml.safe_load((caller.folder / "workload.yaml").read_text()) | own
    (caller.folder / "elsewhere" / "workload.yaml").write_text(yaml.safe_dump(raw))
    ended = caller.run("elsewhere/workload.yaml", "--image", "reprune-test:own-code")
    assert ended["outcome"] == "promoted"


@pytest.mark.slow
def test_the_digits(image, caller):
    """The shipped workload in full, with and without a loss allowed; a busy machine's timings do not decide."""
    image("runtime"), image("train")
    digits = yaml.safe_load((SHIPPED / "digits" / "workload.yaml").read_text()) | {"code": "."}
    calm = digits | {"gate": {"latency": "warn", "tail_latency": "warn", "extreme_latency": "warn"}}
    strict = calm | {"budget": {"latency": "0.45x", "accuracy_drop": 0.0}}
    for name, changed in (("calm", calm), ("strict", strict)):
        (caller.folder / f"{name}.yaml").write_text(yaml.safe_dump(changed))
    ended = caller.run("calm.yaml")
    assert ended["outcome"] == "promoted" and ended["comparison"][1]["speed_up"] > 1
    before = registry(caller)
    rejected = caller.run("strict.yaml", "--force", code=1)
    assert rejected["outcome"] == "rejected" and rejected["reasons"]
    assert registry(caller) == before
