"""The paths of the loop, through kfp.local, as a user walks them: promote, skip, drift, reject, fail, roll back."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml


def snapshot(folder):
    """Return the contents of every file below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def registry(project):
    return snapshot(project.folder / "reprune-store" / "registry")


def variant(project, file, **changes):
    """Write another workload file beside the first."""
    raw = yaml.safe_load((project.folder / "workload.yaml").read_text()) | changes
    (project.folder / file).write_text(yaml.safe_dump(raw))
    return file


def metrics_in(folder):
    return "".join(path.read_text() for path in folder.glob("*.prom"))


@pytest.fixture(scope="module")
def promoted(project):
    return project.run("workload.yaml")


def test_the_first_run_promotes(project, promoted):
    assert promoted["outcome"] == "promoted"
    dense, pruned = promoted["comparison"]
    assert pruned["parameters"] < dense["parameters"]
    assert pruned["size_bytes"] < dense["size_bytes"]
    listed = json.loads(project("models", "--json").stdout)
    assert [item["workload"] for item in listed] == ["shapes"]
    report = project.folder / "reprune-store" / "runs" / "shapes" / promoted["run"] / "report.html"
    assert "<html" in report.read_text()


def test_the_champion_runs_in_torch_and_in_onnxruntime(project, promoted):
    code = (
        "import numpy, torch, reprune, shapes\n"
        "champion = reprune.champion('shapes', allow=['shapes:build'])\n"
        "inputs = shapes.points('test', 64)[0]\n"
        "ours = champion.torch()(inputs).detach().numpy()\n"
        "theirs = champion.onnx().run(None, {'input': inputs.numpy()})[0]\n"
        "assert numpy.abs(ours - theirs).max() < 1e-4\n"
        "model = reprune.champion('shapes').torch(allow=['shapes:build'])\n"
        "print(sum(p.numel() for p in model.parameters()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == promoted["comparison"][1]["parameters"]


def test_the_second_run_has_nothing_to_do_changes_nothing_and_publishes_that_it_succeeded(project, promoted):
    before = registry(project)
    textfiles = project.folder / "textfiles"
    again = project.run("workload.yaml", REPRUNE_METRICS_FOLDER=str(textfiles))
    assert again["outcome"] == "nothing-to-do"
    assert "no drift" in again["reason"]
    assert registry(project) == before
    assert 'reprune_last_success_timestamp_seconds{workload="shapes"}' in metrics_in(textfiles)


def test_a_candidate_that_fails_the_gate_is_rejected_and_the_champion_stays(project, promoted):
    name = variant(project, "strict.yaml", budget={"latency": "0.6x", "accuracy_drop": 0.0})
    before = registry(project)
    rejected = project.run(name, "--force", code=1)
    assert rejected["outcome"] == "rejected"
    assert any("allowed 0.0" in reason for reason in rejected["reasons"]), rejected["reasons"]
    assert registry(project) == before


@pytest.mark.slow
def test_with_manual_approval_the_candidate_waits_until_somebody_approves_it(project):
    manual = {"name": "manual", "train": {"epochs": 4}, "finetune": {"epochs": 1}}
    name = variant(project, "manual.yaml", promotion={"approval": "manual"}, **manual)
    ended = project.run(name)
    assert ended["outcome"] == "waiting" and "reprune approve manual" in ended["reason"]
    states = {row["version"]: row["state"] for row in json.loads(project("models", "--json").stdout)}
    assert states[ended["version"]] == "candidate"
    assert json.loads(project("approve", "manual", "--json").stdout)["version"] == ended["version"]
    assert project.run(name)["outcome"] == "nothing-to-do"


@pytest.mark.slow
def test_int8_is_served_where_it_is_faster_and_the_reason_is_told(project):
    name = variant(
        project, "int8.yaml", name="int8", quantize="int8", budget={"latency": "0.8x", "accuracy_drop": 0.02}
    )
    ended = project.run(name)
    assert ended["outcome"] == "promoted", ended["reasons"]
    served = ended["comparison"][-1]
    assert ended["quantization"].startswith("int8 is served" if served["model"] == "int8" else "float is served")
    store = project.folder / "reprune-store"
    record = json.loads((store / "runs" / "int8" / ended["run"] / "export_onnx.json").read_text())["quantization"]
    assert record["status"] == "made" and record["mixed"]["loss"]["parity"]["examples"] == 200
    model = store / "registry" / "int8" / "versions" / ended["version"] / "files" / "model.onnx"
    assert model.stat().st_size == served["size_bytes"]
    assert (served["size_bytes"] == record["size_bytes"]) == (served["model"] == "int8")
    assert project.run(name)["outcome"] == "nothing-to-do"  # the drift reference is of the served file


def test_drift_starts_a_new_cycle_and_rollback_undoes_it(project, promoted):
    arrays = project.folder / "window.npz"
    code = "import numpy, shapes; x, y = shapes.shifted().tensors; numpy.savez('window.npz', inputs=x, targets=y)"
    subprocess.run([sys.executable, "-c", code], cwd=project.folder, check=True)
    assert np.load(arrays)["inputs"].shape == (200, 8)
    again = project.run("workload.yaml", "--split", "production=window.npz")
    assert again["outcome"] == "promoted"
    assert again["version"] != promoted["version"]
    project("rollback", "shapes", "--reason", "a test")
    shown = json.loads(project("show", "shapes", "--json").stdout)
    assert shown["version"] == promoted["version"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "nowhere.models:build"}, "there is no module 'nowhere'"),
        ({"model": "shapes:biuld"}, "has no 'biuld'"),
        ({"model": "shapes:not_a_module"}, "not a torch.nn.Module"),
        ({"model": "shapes:too_narrow"}, "(?s)model.*refuse"),
        ({"data": "shapes:labels_out_of_range"}, "(?s)12.*0 to 3"),
        ({"data": "shapes:missing_values"}, "(?i)nan|finite"),
        ({"data": "shapes:empty"}, "the test split is empty"),
        ({"budget": {"latency": "0ms"}}, "budget.latency: '0ms' must be more than 0"),
        ({"weights": "none.safetensors"}, "there is no file"),
        ({"target": {"provider": "WarpDriveExecutionProvider"}}, "WarpDrive"),
        ({"target": {"threads": 4096}}, "4096"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_bad_input_is_one_message_and_leaves_the_registry_as_it_was(project, promoted, changes, told):
    import re

    name = variant(project, "bad.yaml", **changes)
    before = registry(project)
    done = project("run", name, "--force", code=2)
    assert re.search(told, " ".join(done.stderr.split())), done.stderr
    assert "→" in done.stderr, "no remedy"
    assert registry(project) == before


def test_a_step_that_fails_is_named_with_its_own_error_and_its_log_and_the_failure_is_published(project, promoted):
    name = variant(project, "broken.yaml", model="shapes:fragile")
    before = registry(project)
    textfiles = project.folder / "textfiles"
    done = project("run", name, "--force", code=3, REPRUNE_METRICS_FOLDER=str(textfiles))
    told = " ".join(done.stderr.split())
    assert "train" in told and "the eighteenth step is one too many" in told and "log.txt" in told
    assert 'outcome="failed"' in metrics_in(textfiles)
    assert registry(project) == before


def test_a_run_that_is_killed_leaves_the_store_whole_and_the_next_one_goes_on(project, promoted):
    name = variant(project, "slow.yaml", name="killed", train={"epochs": 40})
    store = project.folder / "reprune-store"
    command = [sys.executable, "-m", "reprune", "run", name]
    running = subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(store.glob("checkpoints/killed/*/fit*")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    time.sleep(2)  # the step notices that nobody watches any more
    assert not list(store.glob("registry/killed/**/*.json"))
    done = project.run(name)
    assert done["outcome"] == "promoted"
    assert not list(store.glob("checkpoints/killed/**/*.safetensors"))
    log = max((project.folder / ".reprune" / "killed").glob("*/events.jsonl")).read_text()
    told = [event.get("text", "") for event in map(json.loads, log.splitlines()) if event["step"] == "train"]
    assert any(text.startswith("epoch 40 of 40") for text in told)
    assert not any(text.startswith("epoch 1 of 40") for text in told), "a finished epoch was done again"


def test_an_interrupted_run_says_that_it_can_go_on(project, promoted):
    name = variant(project, "slow.yaml", name="interrupted", train={"epochs": 40})
    store = project.folder / "interrupted-store"
    command = [sys.executable, "-m", "reprune", "run", name, "--store", str(store)]
    running = subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(store.glob("checkpoints/interrupted/*/fit*")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "goes on from there" in out
    told = max((project.folder / ".reprune" / "interrupted").glob("*/events.jsonl")).read_text()
    assert "everything up to there is kept" in told.splitlines()[-1], "the training's last step, as on SIGTERM"
