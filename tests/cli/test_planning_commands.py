import json
import re
import subprocess
import sys

import pytest
import torch

from reprune.planning import dense_model
from reprune.pruning import bundle
from reprune.storage.uri import open_store

MODULE = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3))

def load(split):
    size, seed = {"train": (300, 0), "validation": (200, 1), "test": (200, 2)}[split]
    inputs = torch.randn(size, 16, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, inputs[:, :3].argmax(dim=1))
"""
WORKLOAD = """
name: small
model: small:build
data: small:load
target: [{batch_size: 8}, {batch_size: 64}]
budget: {latency: 0.6x}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A workload with two targets; its store holds a dense model, as a run leaves it."""
    folder = tmp_path_factory.mktemp("plan")
    (folder / "small.py").write_text(MODULE)
    (folder / "workload.yaml").write_text(WORKLOAD)
    sys.path.insert(0, str(folder))
    try:
        model = bundle.build("small:build", key="model")
    finally:
        sys.path.remove(str(folder))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    inputs = torch.randn(500, 16)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bundle.save(model, folder / "dense", factory="small:build")
    dense_model.keep(open_store(folder / "trained"), "small", folder / "dense")
    return folder


def run(folder, *arguments, code=0, store="trained"):
    command = [sys.executable, "-m", "reprune", *arguments, "--store", store]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def planned(folder):
    arguments = ("--latency", "0.5x", "--size", "0.5x", "--out", "plan.json", "--html", "plan.html")
    return run(folder, "plan", "workload.yaml", *arguments)


def test_a_plan_holds_on_every_target_and_is_written(folder, planned):
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["workload"] == "small" and plan["trained"] and plan["holds"]
    assert plan["budget"]["latency"] == "0.5x" and plan["targets"] == [
        "CPU, 1 thread, batch 8",
        "CPU, 1 thread, batch 64",
    ]
    for taken, allowed in zip(plan["measured_latency_seconds"], plan["budget_seconds"], strict=True):
        assert taken <= allowed
    assert plan["size_bytes"] <= plan["size_budget_bytes"] == 0.5 * plan["dense_size_bytes"]
    assert any(plan["widths"][name] < width for name, width in plan["dense_widths"].items())
    assert sum(it["measured_latency_seconds"] is not None for it in plan["alternatives"]) >= 2


def test_what_is_shown_is_what_is_written(folder, planned):
    plan = json.loads((folder / "plan.json").read_text())
    assert "the last run's" in planned and "untrained" not in planned
    for name, width in plan["widths"].items():
        assert re.search(rf"^ +{re.escape(name)} +{plan['dense_widths'][name]} +{width} ", planned, re.MULTILINE)
    page = (folder / "plan.html").read_text()
    assert "Plan for small" in page and "<svg" in page and "batch 64" in page
    assert "http" not in page.replace("http://www.w3.org", ""), "the page brings everything along"


def test_the_profile_is_kept_and_used_again(folder, planned):
    store = open_store(folder / "trained")
    before = {key: store.get(key) for key in store.list("profiles/")}
    assert len(before) == 2
    again = json.loads(run(folder, "plan", "workload.yaml", "--method", "uniform", "--json"))
    after = {key: store.get(key) for key in store.list("profiles/")}
    assert set(after) == set(before)
    assert again["method"] == "uniform" and again["holds"]
    shares = [again["widths"][name] / width for name, width in again["dense_widths"].items()]
    assert max(shares) - min(shares) < 0.02


def test_a_budget_that_cannot_be_held_is_refused_with_the_nearest(folder):
    told = run(folder, "plan", "workload.yaml", "--size", "100B", code=2)
    assert "budget.size: 100B is out of reach" in told
    assert re.search(r"nearest that can be held on every target is size [0-9.]+MB", told)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--latency", "fast"), "budget.latency: 'fast'"),
        (("--latency", "2x"), "budget.latency: '2x' is more than the dense model itself"),
        (("--accuracy-drop", "3"), "budget.accuracy_drop"),
        (("--out", "nowhere/plan.json"), "--out: nowhere/plan.json"),
    ],
)
def test_bad_input_is_named_before_anything_is_measured(folder, arguments, named):
    assert named in run(folder, "plan", "workload.yaml", *arguments, code=2, store="fresh")
    assert not (folder / "fresh" / "profiles").exists()


def test_sensitivity_shows_curves_with_error_bars(folder):
    found = json.loads(run(folder, "sensitivity", "workload.yaml", "--html", "curves.html", "--json"))
    assert found["trained"] and set(found["curves"]) == {"0", "2"}
    points = [point for curve in found["curves"].values() for point in curve["points"]]
    assert all(point["standard_error"] >= 0 for point in points) and len(points) >= 4
    assert "<svg" in (folder / "curves.html").read_text()


def test_curves_are_kept_and_not_measured_again(folder):
    found, again = (json.loads(run(folder, "sensitivity", "workload.yaml", "--json")) for _ in range(2))
    assert again["curves"] == found["curves"]
    assert set(again["reused"]) == set(found["curves"]) and again["layer_evaluations"] == 0


def test_before_any_run_the_model_is_untrained_and_that_is_said(folder):
    shown = run(folder, "sensitivity", "workload.yaml", "--html", "untrained.html", store="empty")
    assert "untrained: no run" in (folder / "untrained.html").read_text()
    assert "untrained: no run has trained it yet" in shown and "reprune run small" in shown
    assert "±" in shown
    assert not list(open_store(folder / "empty").list("sensitivity/")), "no run should start from curves of noise"


@pytest.mark.slow
def test_advice_rests_on_measurements_of_this_model_which_are_kept(folder):
    (folder / "one.yaml").write_text(WORKLOAD.replace("[{batch_size: 8}, {batch_size: 64}]", "{batch_size: 64}"))
    (advice,) = json.loads(run(folder, "advise", "one.yaml", "--json"))
    rows = {row["method"]: row for row in advice["rows"]}
    assert all(rows[method]["latency_ratio"] > 0 for method in rows if method != "heads")
    assert rows["structured"]["size_ratio"] < 0.6 and rows["int8"]["size_ratio"] < 0.5
    assert rows["unstructured"]["size_ratio"] == pytest.approx(1, abs=0.01)
    assert "no attention heads" in rows["heads"]["reason"]
    (again,) = json.loads(run(folder, "advise", "one.yaml", "--latency", "1s", "--json"))
    assert again["rows"] == advice["rows"], "measured once"
    assert again["answer"] == "nothing" and "do not prune" in again["reasons"][0]
    shown = run(folder, "advise", "one.yaml")
    assert f"advice: {advice['answer']}" in shown and "control" in shown


def test_advice_for_no_inferences_is_refused(folder):
    assert "--inferences: 0" in run(folder, "advise", "workload.yaml", "--inferences", "0", code=2)
