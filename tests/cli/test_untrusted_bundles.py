"""Bundles of strangers on the command line: what lies beside ``bundle.json`` is never imported."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import reprune

NET = """
import pathlib
from torch import nn

pathlib.Path(__file__).with_name("RAN").touch()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.first(x).relu())
"""
CONSOLE = [str(Path(sys.executable).with_name("reprune"))]
MODULE = [sys.executable, "-m", "reprune"]
ENTRANCES = pytest.mark.parametrize("entrance", [CONSOLE, MODULE], ids=["console", "module"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A bundle of a class that lies beside it, as when somebody sends a folder."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "beside.py").write_text(NET)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.delitem(sys.modules, "beside", raising=False)
        from beside import Net

        reprune.save(Net(), folder)
        patch.delitem(sys.modules, "beside")
    (folder / "RAN").unlink()
    return folder


def run(folder, entrance, *arguments, code=0, **environment):
    cleared = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(
        [*entrance, *arguments], cwd=folder, env=cleared | environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@ENTRANCES
@pytest.mark.parametrize("allowed", [False, True])
def test_a_module_beside_the_bundle_is_not_imported(folder, entrance, allowed):
    options = ("--allow", "beside") if allowed else ()
    done = run(folder, entrance, "inspect", ".", "--input", "2x4", *options, code=2)
    assert "beside" in done.stderr and not (folder / "RAN").exists()
    assert allowed or "--allow beside" in done.stderr.replace("\n", " ")


@ENTRANCES
def test_benchmark_and_gate_import_none_either(folder, entrance, tmp_path):
    (tmp_path / "policy.yaml").write_text("splits: {test: test.npz}\ntask: regression\n")
    import numpy

    numpy.savez(tmp_path / "test.npz", inputs=numpy.zeros((8, 4), "float32"), targets=numpy.zeros((8, 3), "float32"))
    benchmark = ("benchmark", ".", "--input", "input=1x4", "--seconds", "0.5")
    gate = ("gate", "--candidate", ".", "--dense", ".", "--policy", "../policy.yaml")
    for command in (benchmark, gate):
        for options in ((), ("--allow", "beside")):
            done = run(folder, entrance, *command, *options, code=2)
            assert "beside" in done.stderr and not (folder / "RAN").exists(), command


def test_the_data_that_a_bundle_names_is_not_called(tmp_path):
    from reprune.workloads.breast_cancer.model import build

    mark = tmp_path / "RAN"
    (tmp_path / "beside.py").write_text(f"open({str(mark)!r}, 'w')\n")
    factory = "reprune.workloads.breast_cancer.model:build"
    for data in ("beside:load", "os:system", "builtins:exec"):
        reprune.save(build(), tmp_path / "b", factory=factory, entry_points={"data": data})
        done = run(tmp_path, CONSOLE, "benchmark", "b", "--seconds", "0.5", code=2)
        assert "not allowed to load data" in done.stderr and not mark.exists()


@ENTRANCES
def test_the_user_allows_it_and_names_the_folder(folder, entrance):
    done = run(
        *(folder, entrance, "inspect", ".", "--input", "2x4", "--allow", "beside:Net", "--json"), PYTHONPATH=str(folder)
    )
    assert '"width": 6' in done.stdout and (folder / "RAN").exists()


@ENTRANCES
def test_no_module_of_the_working_folder_takes_the_place_of_another(entrance, tmp_path):
    """Every name of the standard library and of what is installed lies there, to be imported in its place."""
    reprune.save(torch.nn.Linear(4, 3), tmp_path, arguments={"in_features": 4, "out_features": 3})
    installed = set(importlib.metadata.packages_distributions()) - {"reprune"}
    for name in installed | set(sys.stdlib_module_names):
        if name.isidentifier():
            (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'a').write({name + ' '!r})\n")
    options = ("--allow", "torch.nn")
    run(tmp_path, entrance, "inspect", ".", "--input", "2x4", *options)
    run(tmp_path, entrance, "benchmark", ".", "--input", "input=1x4", "--seconds", "0.5", *options)
    assert not (tmp_path / "RAN").exists(), (tmp_path / "RAN").read_text()


@ENTRANCES
def test_a_module_that_the_user_names_is_found_in_the_working_folder(folder, entrance):
    done = run(folder, entrance, "inspect", "beside:Net", "--input", "2x4", "--json")
    assert '"width": 6' in done.stdout
