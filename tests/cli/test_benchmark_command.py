import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def reprune(*arguments, cwd, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "reprune", "benchmark", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else " ".join(done.stderr.split())


def write(path, width, *, inside=8, batch="batch"):
    rng = np.random.default_rng(0)
    sizes = [(inside, width), (width, width), (width, 4)]
    weights = [numpy_helper.from_array(rng.standard_normal(it).astype("f"), f"w{k}") for k, it in enumerate(sizes)]
    names = ["x", "h0", "h1", "y"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names[k], f"w{k}"], [names[k + 1]]) for k in range(3)],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, inside])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])],
        weights,
    )
    path.parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write(folder / "wide.onnx", 1024)
    write(folder / "narrow.onnx", 16)
    write(folder / "other.onnx", 16, inside=9)
    write(folder / "fixed.onnx", 16, batch=2)
    write(folder / "bundle" / "model.onnx", 16)
    (folder / "half.onnx").write_bytes((folder / "wide.onnx").read_bytes()[:5000])
    (folder / "notes.txt").write_text("not a graph")
    return folder


@pytest.fixture(scope="module")
def compared(folder):
    command = ("wide.onnx", "narrow.onnx", "bundle", "--batch", 4, "--seconds", 1)
    printed = reprune(*command, "--json", "--samples", "s.json", "--html", "p.html", cwd=folder)
    return json.loads(printed), folder


def test_every_figure_of_every_model_is_in_the_json(compared):
    found, folder = compared
    assert set(found["models"]) == {"wide", "narrow", "bundle", "control"}
    assert found["baseline"] == "wide"
    assert found["target"]["batch_size"] == 4
    for it in found["models"].values():
        for quantile in ("p50_seconds", "p95_seconds", "p99_seconds"):
            assert 0 < it[quantile]["low"] <= it[quantile]["value"] <= it[quantile]["high"]
        assert it["throughput"] > 0 and it["cold_start_seconds"] > 0
    assert found["models"]["narrow"]["size_bytes"] == (folder / "narrow.onnx").stat().st_size
    assert set(found["findings"]) == {"narrow", "bundle"}
    assert found["references"]["bundle"] == "bundle"
    assert found["load"]["load_average"] is None or found["load"]["load_average"] >= 0


def test_what_is_sixty_times_less_work_is_found_faster(compared):
    assert "faster than wide" in compared[0]["findings"]["narrow"]


def test_every_duration_is_kept_as_json(compared):
    found, folder = compared
    kept = json.loads((folder / "s.json").read_text())
    assert len(kept["session_of_round"]) == found["rounds"]
    assert {name: len(it["seconds"]) for name, it in kept["models"].items()} == {
        name: it["calls"] for name, it in found["models"].items()
    }


def test_the_page_shows_every_model_the_control_and_what_can_be_told(compared):
    page = (compared[1] / "p.html").read_text()
    for text in ("narrow", "wide again (control)", "faster than wide", "95 % interval", "peak memory"):
        assert text in page
    assert page.count("<svg") == 2


def test_the_table_has_a_control_and_no_gain_for_a_copy(folder):
    shown = reprune("narrow.onnx", "./narrow.onnx", "--seconds", 0.6, cwd=folder)
    assert "first again" in shown
    assert "narrow against itself" in shown or "narrow.onnx against itself" in shown
    for heading in ("p50", "p95", "p99", "examples/s", "memory", "cold start", "size", "latency ratio"):
        assert heading in shown


@pytest.mark.parametrize(
    ("arguments", "told", "remedy"),
    [
        ([], "nothing to benchmark", "Name at least one"),
        (["gone.onnx"], "no file or folder gone.onnx", "Name an ONNX file"),
        (["digits"], "no workload of that name", "reprune models"),
        (["."], "neither model.onnx nor a bundle", "reprune.save"),
        (["notes.txt"], "refuses notes.txt", "is ONNX"),
        (["half.onnx"], "refuses half.onnx", "whole"),
        (["wide.onnx", "other.onnx"], "wide and other take different inputs", "same requests"),
        (["fixed.onnx", "--batch", "3"], "batch of 3 does not fit", "batch of 2"),
        (["wide.onnx", "--batch", "0"], "--batch: 0", "1 or more"),
        (["wide.onnx", "--provider", "warp"], "'warp' is not available", "CPUExecutionProvider"),
        (["wide.onnx", "--threads", "4096"], "4096 is more than the number of cores", "at most"),
        (["wide.onnx", "--seconds", "0"], "--seconds: 0", "0.5 to 3600"),
        (["wide.onnx", "--input", "x"], "is not NAME=SHAPE", "input=1x3x224x224"),
        (["wide.onnx", "--input", "z=1x8"], "No model has an input 'z'", "They have x"),
        (["wide.onnx", "--html", "no/p.html"], "folder that does not exist", "Name a file"),
        (["wide.onnx", "--samples", "."], "is a folder", "Name a file"),
    ],
)
def test_bad_input_is_one_message_a_remedy_and_exit_code_2(folder, arguments, told, remedy):
    before = sorted(folder.iterdir())
    message = reprune(*arguments, cwd=folder, code=2)
    assert told in message
    assert remedy in message.partition("→")[2]
    assert sorted(folder.iterdir()) == before
