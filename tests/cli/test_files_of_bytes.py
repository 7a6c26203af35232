"""Whatever the bytes of a file that a command is given: bad input is one message and exit code 2, never a traceback."""

import signal
import sys

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reprune.cli.app import main

OF = {"name": "mine", "model": "reprune.workloads.breast_cancer.model:build"}
OF |= {"data": "reprune.workloads.breast_cancer.data:load"}
POLICY = ("gate", "--candidate", "given.onnx", "--dense", "given.onnx", "--policy")

DOORS = {
    **{
        f"a workload, {command[0]}": ("given.yaml", command)
        for command in [
            ("run", "given.yaml"),
            ("compile", "given.yaml", "-o", "out.yaml"),
            ("expectations", "given.yaml"),
            ("inspect", "given.yaml"),
            ("sensitivity", "given.yaml"),
            ("plan", "given.yaml"),
            ("advise", "given.yaml"),
            ("profile", "given.yaml"),
            ("drift", "given.yaml"),
            ("drift", "given.yaml", "--log", "log"),
            ("submit", "given.yaml", "--store", "s3://a/b"),
            ("schedule", "given.yaml", "--cron", "0 0 3 * * *", "--store", "s3://a/b"),
            ("monitor", "given.yaml"),
        ]
    },
    "a policy": ("given.yaml", (*POLICY, "given.yaml")),
    "expectations": ("given.json", ("compile", "expecting.yaml", "-o", "out.yaml")),
    "an ONNX file to benchmark": ("given.onnx", ("benchmark", "given.onnx")),
    "an ONNX file to judge": ("given.onnx", (*POLICY, "digits")),
    "a split": ("given.npz", ("inspect", "splitting.yaml")),
    "weights": ("given.safetensors", ("plan", "weighing.yaml")),
    "a state_dict": ("given.pt", ("plan", "stateful.yaml")),
    "code": ("given_module.py", ("inspect", "coding.yaml")),
    "a bundle to inspect": ("given/bundle.json", ("inspect", "given", "--input", "1x30")),
    "a bundle to benchmark": ("given/bundle.json", ("benchmark", "given")),
    "a bundle to judge": (
        "given/bundle.json", ("gate", "--candidate", "given", "--dense", "given", "--policy", "digits")
    ),
    "the webhook's token": ("given.token", ("monitor", "digits", "--token-file", "given.token")),
    "a reference, CSV": ("given.csv", ("drift", "--reference", "given.csv", "--window", "window.npz")),
    "a reference, Parquet": ("given.parquet", ("drift", "--reference", "given.parquet", "--window", "window.npz")),
    "a reference": ("given.safetensors", ("drift", "--reference", "given.safetensors", "--window", "window.npz")),
    "a window, CSV": ("given.csv", ("drift", "--reference", "window.npz", "--window", "given.csv")),
    "a window, NPZ": ("given.npz", ("drift", "--reference", "window.npz", "--window", "given.npz")),
    "rows": ("given.npz", ("reference", "given.npz", "--out", "out.safetensors")),
}  # fmt: skip
"""By what it is: the file, and the command that reads it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")
    rng = np.random.default_rng(0)
    np.savez(folder / "window.npz", a=rng.normal(size=100), b=rng.normal(size=100))
    for name, keys in {
        "expecting": {"expectations": {"train": "given.json"}},
        "splitting": {"splits": {"validation": "given.npz"}},
        "weighing": {"weights": "given.safetensors"},
        "stateful": {"weights": "given.pt"},
        "coding": {"model": "given_module:build"},
    }.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(OF | keys))
    return folder


def run(command, capsys, monkeypatch, folder):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["reprune", *command])
        patch.setattr(sys, "path", [*sys.path])
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(("file", "command"), DOORS.values(), ids=DOORS)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(noise=b"\xff\xfe\x00\x01")
@example(noise=bytes(range(256)))
@given(noise=st.binary(max_size=200))
def test_bytes_are_bad_input(folder, file, command, noise, capsys, monkeypatch):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(b"\xff" + noise)  # neither text nor the first byte of any format
    code, said = run(command, capsys, monkeypatch, folder)
    assert code == 2, said
    assert len([line for line in said.splitlines() if line.startswith("error: ")]) == 1, said
    assert "given" in said and "→" in said and "Traceback" not in said
