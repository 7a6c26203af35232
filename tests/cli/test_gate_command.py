"""The gate as a CI job uses it: files in, an exit code and reports out."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import reprune
from reprune.inference.onnx.export import export

POLICY = {
    "name": "quadrants",
    "splits": {"test": "test.npz"},
    "target": {"threads": 1, "batch_size": 16},
    "budget": {"latency": "0.8x", "accuracy_drop": 0.05},
    "gate": {"latency": "warn", "tail_latency": "warn", "extreme_latency": "warn"},  # other tests run beside this one
}


def network(width):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 4))


def trained(width):
    torch.manual_seed(0)
    inputs, labels = points(0, 800)
    model = network(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model.eval()


def points(seed, size):
    inputs = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs[:, 0] > 0).long() * 2 + (inputs[:, 1] > 0).long()


def blind_to_one_class(model):
    """Lower one class's logit until it is never answered."""
    with torch.no_grad():
        model[2].bias[3] -= 100
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ci")
    inputs, labels = points(1, 600)
    np.savez(folder / "test.npz", inputs=inputs.numpy(), targets=labels.numpy())
    export(trained(256), inputs[:2], folder / "dense.onnx")
    export(trained(32), inputs[:2], folder / "pruned.onnx")
    export(blind_to_one_class(trained(32)), inputs[:2], folder / "blind.onnx")
    export(nn.Sequential(nn.Linear(5, 4)).eval(), torch.randn(2, 5), folder / "other.onnx")
    (folder / "broken.onnx").write_bytes(b"no model at all")
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    return folder


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "pandas", "sklearn", "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from reprune.cli.app import main
main()
"""
"""The command line where ONNX Runtime is and torch is not."""


def gate(folder, *arguments, code=0, torch=False):
    python = ["-m", "reprune"] if torch else ["-c", WITHOUT_TORCH]
    command = [sys.executable, *python, "gate", "--seconds", "0.5", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_good_candidate_passes_and_every_report_says_so(folder):
    done = gate(
        folder,
        *("--candidate", "pruned.onnx", "--dense", "dense.onnx", "--champion", "dense.onnx"),
        *("--policy", "policy.yaml"),
        *("--json", "--junit", "gate.xml", "--markdown", "summary.md", "--html", "gate.html"),
    )
    verdict = json.loads(done.stdout)
    assert verdict["passed"] and verdict["examples"] == 600
    assert {"quality against dense", "quality against champion"} <= {check["name"] for check in verdict["checks"]}
    suite = ElementTree.parse(folder / "gate.xml").getroot().find("testsuite")
    assert suite.get("failures") == "0" and int(suite.get("tests")) == len(verdict["checks"])
    assert "promote" in (folder / "summary.md").read_text()
    page = (folder / "gate.html").read_text()
    assert "<svg" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_a_candidate_that_lost_a_class_is_refused_by_name(folder):
    done = gate(
        folder,
        *("--candidate", "blind.onnx", "--dense", "dense.onnx", "--policy", "policy.yaml", "--junit", "refused.xml"),
        code=1,
    )
    assert "refuse" in done.stdout and "lost" in done.stdout and "class 3" in done.stdout
    failures = ElementTree.parse(folder / "refused.xml").getroot().findall("testsuite/testcase/failure")
    assert any("lost" in failure.get("message") for failure in failures)


def test_a_model_that_is_only_replaced_needs_no_gain(folder):
    policy = POLICY | {"gate": {"latency": "off", "tail_latency": "off", "extreme_latency": "off"}}
    (folder / "replace.yaml").write_text(yaml.safe_dump(policy))
    done = gate(folder, "--candidate", "dense.onnx", "--dense", "dense.onnx", "--policy", "replace.yaml")
    assert "as fast as dense" not in done.stdout


def test_an_onnx_file_that_differs_from_its_bundle_is_caught(folder, monkeypatch):
    (folder / "own.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4))\n"
    )
    monkeypatch.syspath_prepend(folder)
    reprune.save(trained(32), folder / "bundle", factory="own:build")
    arguments = ("--candidate", "bundle", "--dense", "dense.onnx", "--policy", "policy.yaml", "--allow", "own:build")
    assert "torch → ONNX" in gate(folder, *arguments, torch=True).stdout  # exported for the occasion
    (folder / "bundle" / "model.onnx").write_bytes((folder / "pruned.onnx").read_bytes())
    assert "torch → ONNX" in gate(folder, *arguments, torch=True).stdout
    (folder / "bundle" / "model.onnx").write_bytes((folder / "blind.onnx").read_bytes())
    assert "torch → ONNX: outputs differ" in gate(folder, *arguments, code=1, torch=True).stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--candidate", "none.onnx", "--dense", "dense.onnx", "--policy", "policy.yaml"),
            "no file or folder none.onnx",
        ),
        (("--candidate", "broken.onnx", "--dense", "dense.onnx", "--policy", "policy.yaml"), "broken.onnx"),
        (("--candidate", "other.onnx", "--dense", "dense.onnx", "--policy", "policy.yaml"), "other.onnx|input"),
        (("--candidate", "pruned.onnx", "--dense", "dense.onnx", "--policy", "none.yaml"), "no workload 'none.yaml'"),
        (("--candidate", "pruned.onnx", "--dense", "dense.onnx", "--policy", "blind.yaml"), "blocks on nothing"),
        (("--candidate", "pruned.onnx", "--dense", "dense.onnx", "--policy", "nodata.yaml"), "no test split"),
        (("--candidate", "pruned.onnx", "--dense", "dense.onnx", "--policy", "own.yaml"), "task of your own.*torch"),
        (
            ("--candidate", "pruned.onnx", "--dense", "dense.onnx", "--policy", "policy.yaml", "--junit", "no/x.xml"),
            "--junit: no/x.xml is in a folder that does not exist",
        ),
    ],
)
def test_bad_input_is_one_message(folder, arguments, told):
    import re

    (folder / "blind.yaml").write_text(yaml.safe_dump(POLICY | {"gate": dict.fromkeys(SEVERITIES, "warn")}))
    (folder / "nodata.yaml").write_text(yaml.safe_dump({k: v for k, v in POLICY.items() if k != "splits"}))
    (folder / "own.yaml").write_text(yaml.safe_dump(POLICY | {"task": "my_project.tasks:Own"}))
    done = gate(folder, *arguments, code=2)
    message = " ".join(done.stderr.split())
    assert re.search(told, message), message
    assert "→" in done.stderr


SEVERITIES = (
    *("quality", "champion", "slices", "disagreement", "calibration"),
    *("latency", "tail_latency", "extreme_latency", "size", "parity", "serving"),
)
