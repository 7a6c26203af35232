import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))

def load(split):
    return torch.utils.data.TensorDataset(torch.zeros(10, 8), torch.zeros(10, dtype=torch.int64))

def without():
    return nn.Sequential(nn.Flatten())
"""


def reprune(*arguments, cwd, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "reprune", "profile", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workload")
    (folder / "small.py").write_text(CODE)
    (folder / "w.yaml").write_text(
        "name: small\nmodel: small:build\ndata: small:load\ntarget: {batch_size: 2}\nbudget: {latency: 0.5x}\n"
    )
    (folder / "none.yaml").write_text((folder / "w.yaml").read_text().replace("small:build", "small:without"))
    return folder


@pytest.fixture(scope="module")
def profiled(folder):
    printed = reprune("w.yaml", "--seconds", 30, "--html", "p.html", "--json", cwd=folder)
    (found,) = json.loads(printed)
    return found


def kept(folder, found):
    return Path(folder / "reprune-store" / found["key"])


def test_the_machine_and_every_operator_are_in_the_json(profiled):
    assert profiled["machine"]["cpu_model"] and "onnxruntime" in profiled["machine"]["runtime"]
    assert profiled["target"] == {"provider": "CPUExecutionProvider", "threads": 1, "batch_size": 2}
    (operator,) = profiled["operators"]
    assert operator["operator"] == "linear 1 rows"
    assert operator["input"]["block"] >= 1 and operator["fixed_seconds"] >= 0
    assert {(8, 64), (64, 3)} <= {(i, o) for i, o, _ in operator["latencies"]}
    assert profiled["measured"] == {"linear 1 rows": len(operator["latencies"])}
    assert profiled["reused"] == {"linear 1 rows": 0}
    assert profiled["kinds"][0]["kind"] == "linear"
    assert profiled["seconds"] > 0 and profiled["discarded"] == ""


def test_the_page_shows_the_curves_the_blocks_and_the_machine(folder, profiled):
    page = (folder / "p.html").read_text()
    for text in (
        "linear 1 rows",
        "latency steps every",
        "fixed cost",
        profiled["machine"]["cpu_model"],
        "measured now",
    ):
        assert text in page
    assert page.count("<svg") == 1


def test_the_second_time_nothing_is_measured_and_the_table_says_so(folder, profiled):
    shown = reprune("w.yaml", cwd=folder)
    points = profiled["measured"]["linear 1 rows"]
    assert f"{points} latencies, {points} of them known, 0 measured" in shown
    assert "latency steps every" in shown and profiled["key"] in shown


def test_another_machines_table_is_measured_anew_and_told_of(folder, profiled):
    table = kept(folder, profiled)
    table.write_text(table.read_text().replace(profiled["machine"]["cpu_model"], "VAX 780", 1))
    shown = reprune("w.yaml", "--seconds", 0.5, cwd=folder)
    assert "VAX 780" in shown and "measured anew" in shown and " 0 of them known" in shown
    assert "VAX 780" not in table.read_text()


@pytest.mark.parametrize(
    ("arguments", "told", "remedy"),
    [
        (["digit"], "did you mean digits", ""),
        (["w.yaml", "--target", "threads=4096"], "4096 is more than the number of cores", "at most"),
        (["w.yaml", "--target", "provider=warp"], "'warp' is not available", "CPUExecutionProvider"),
        (["w.yaml", "--target", "provider=cpu,batch=8"], "'batch=8' is no part of a target", "batch_size"),
        (["w.yaml", "--target", "threads=many"], "'threads=many' is no part of a target", "threads=1"),
        (["w.yaml", "--seconds", "0"], "--seconds: 0", "0.5 to 3600"),
        (["w.yaml", "--html", "no/p.html"], "folder that does not exist", "Name a file"),
        (["none.yaml"], "no operator that could be pruned", "nothing to profile"),
    ],
)
def test_bad_input_is_one_message_a_remedy_and_exit_code_2(folder, arguments, told, remedy):
    message = reprune(*arguments, "--store", "elsewhere", cwd=folder, code=2)
    assert told in message
    assert remedy in message.partition("→")[2]


def test_a_provider_that_is_there_is_known_by_its_short_name(folder, profiled):
    (found,) = json.loads(
        reprune("w.yaml", "--target", "provider=CPU,batch_size=1", "--seconds", 0.5, "--json", cwd=folder)
    )
    assert found["target"] == {"provider": "CPUExecutionProvider", "threads": 1, "batch_size": 1}
    assert found["key"] != profiled["key"]
