"""Every command and every piece of code that the documentation shows is run, in its order, in a folder of its own."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reprune import hashing
from reprune.gate import approval
from reprune.gate.verdict import Check, conclude
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """A page of documentation, acted out.

    Files are written (``python file=NAME``), commands run (``console``, after a ``$``), code executed (``python``).
    """

    def __init__(self, path, folder):
        self.blocks = FENCE.findall((ROOT / path).read_text())
        self.folder = folder
        self.ran = []
        self.output = []

    def act(self, *, passing_over=()):
        for language, file, text in self.blocks:
            if file:
                (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / file).write_text(text)
            elif language == "console":
                for line in text.splitlines():
                    command = line.removeprefix("$ ").split("  #")[0].strip()
                    if line.startswith("$ ") and not command.startswith(tuple(passing_over)):
                        self.run(command)
            elif language == "python":
                self.run(f"{shlex.quote(sys.executable)} -c {shlex.quote(text)}")

    def run(self, command):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("REPRUNE_")} | {"PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        self.ran.append(command)
        self.output.append(done.stdout)


@pytest.mark.slow
@pytest.mark.alone
def test_bring_your_own_model(tmp_path):
    np.savez(
        tmp_path / "window.npz", inputs=np.random.default_rng(0).normal(2, 1, (200, 16)), targets=np.zeros(200, int)
    )
    page = Page("docs/bring-your-own-model.md", tmp_path)
    page.act()
    assert "reprune run workload.yaml" in page.ran and len(page.ran) >= 9
    assert (tmp_path / "pipeline.yaml").exists() and (tmp_path / "workload.schema.json").exists()


def test_prune_a_model(tmp_path):
    page = Page("docs/prune-a-model.md", tmp_path)
    page.act()
    assert len(page.ran) == 6
    assert (tmp_path / "net.html").exists() and (tmp_path / "three" / "bundle.json").exists()


def test_sparse_weights(tmp_path):
    page = Page("docs/sparse-weights.md", tmp_path)
    page.act()
    assert len(page.ran) == 3 and (tmp_path / "masks.safetensors").exists()


def test_quantize(tmp_path):
    page = Page("docs/quantize.md", tmp_path)
    page.act()
    assert len(page.ran) == 2
    assert (tmp_path / "int8.onnx").stat().st_size < (tmp_path / "float.onnx").stat().st_size / 2


def test_promote(tmp_path):
    registry = Registry(open_store(tmp_path / "reprune-store"), "digits")
    for name, champion in (("a", True), ("b", True), ("c", False)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.onnx").write_text(name)
        (folder / "requests.npz").write_text("asked of no target")
        passed = Check(name="quality", family="quality", severity="block", status="passed", statement="no loss")
        verdict = conclude([passed], candidate_sha256=hashing.of_file(folder / "model.onnx"), examples=10)
        (folder / "verdict.json").write_text(verdict.model_dump_json())
        now = registry.champion()
        compared_with = now.model_dump(mode="json") if now else None
        version = registry.publish(folder, {"compared_with": compared_with, "targets": []})
        if champion:
            approval.approve(registry, version.id)
    before = registry.champion()
    page = Page("docs/promote.md", tmp_path)
    page.act(passing_over=["reprune run digits"])
    assert len(page.ran) == 6
    assert registry.champion().version == before.version
    assert [move.action for move in registry.history()][2:] == ["canary", "withdraw", "promote", "rollback"]


def test_monitor(tmp_path):
    page = Page("docs/monitor.md", tmp_path)
    page.act(passing_over=["reprune monitor", "reprune retire", "prometheus"])  # they serve, or need a server
    assert len(page.ran) == 2 and len((tmp_path / "reprune-monitor-token").read_text().strip()) == 64
    assert [path.name for path in tmp_path.glob("reprune-store/logs/digits/*/*")] == ["1430-host7.npz"]


def test_cluster(tmp_path):
    page = Page("docs/cluster.md", tmp_path)
    page.act()
    assert len(page.ran) == 1
    kinds = re.findall(r"^kind: (\w+)$", (tmp_path / "resources.yaml").read_text(), re.MULTILINE)
    assert kinds == ["Pipeline", "PipelineVersion"]


def test_gate_in_ci(tmp_path):
    page = Page("docs/gate-in-ci.md", tmp_path)
    page.act()
    assert len(page.ran) == 2 and all((tmp_path / name).exists() for name in ("summary.md", "gate.xml", "gate.html"))


def test_detect_drift(tmp_path):
    page = Page("docs/detect-drift.md", tmp_path)
    page.act()
    report = json.loads((tmp_path / "drift.json").read_text())
    assert {"amount", "country", "age"} <= {test["name"] for test in report["tests"] if test["alarm"]}
    assert all((tmp_path / name).exists() for name in ("drift.html", "both.safetensors", "log.yaml"))


def test_measure_latency(tmp_path):
    page = Page("docs/measure-latency.md", tmp_path)
    page.act()
    assert len(page.ran) == 4
    assert {"page.html", "samples.json", "profile.html"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_plan_a_budget(tmp_path):
    page = Page("docs/plan-a-budget.md", tmp_path)
    page.act()
    assert len(page.ran) == 4
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["holds"] and plan["budget"]["size"] == "1MB"
    assert {"sensitivity.html", "plan.html"} <= {path.name for path in tmp_path.iterdir()}


def test_train_on_spot_machines(tmp_path):
    page = Page("docs/train-on-spot-machines.md", tmp_path)
    page.act()
    killed, resumed = page.output
    assert killed.splitlines()[0].startswith("epoch 1:") and "epoch 20:" not in killed
    assert not resumed.startswith(("epoch 1:", "epoch 2:", "epoch 3:")) and "epoch 20:" in resumed


@pytest.mark.alone
def test_the_digits_of_the_front_page(tmp_path):
    """Whether it is promoted is for the gate to say; what is measured here is what the front page promises."""
    command = [sys.executable, "-m", "reprune", "run", "digits", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    dense, pruned = found["comparison"]
    assert found["outcome"] == {0: "promoted", 1: "rejected"}[done.returncode]
    assert dense["accuracy"] >= 0.98
    assert pruned["speed_up"] >= 2
    assert pruned["accuracy"] >= dense["accuracy"] - 0.01


@pytest.mark.slow
@pytest.mark.alone
def test_the_front_page(tmp_path):
    page = Page("README.md", tmp_path)
    page.act(passing_over=["make"])
    assert [command for command in page.ran if command.startswith("reprune")] == [
        "reprune run digits",
        "reprune run digits --split production=reprune.workloads.digits.data:rotated",
        "reprune rollback digits",
        "reprune init workload.yaml",
    ]


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md"])
def test_the_make_commands_that_are_shown_exist(path):
    shown = [line for _, _, text in Page(path, ROOT).blocks for line in text.splitlines() if line.startswith("$ make ")]
    assert shown
    for line in shown:
        targets = line.removeprefix("$ make ").split("#")[0].split()
        done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_make_run_is_the_command_of_the_front_page():
    # When make itself runs the tests, it tells this make to announce its folder; that is not a command.
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "run"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1].endswith("bin/reprune run digits")


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
    for page in [*pages, *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
