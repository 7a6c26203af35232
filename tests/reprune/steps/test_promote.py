"""What the gate judged is what is promoted, or nothing is."""

import json
import shutil

import pytest
import torch

from reprune import hashing
from reprune.config import loading
from reprune.data.datasets import Data
from reprune.errors import IntegrityError
from reprune.gate.verdict import Check, conclude
from reprune.inference.onnx.export import export
from reprune.inference.onnx.quantize import Quantizer
from reprune.pruning import bundle
from reprune.steps import promote
from reprune.steps.context import Step
from tests.reprune.onnx import products

DIGITS = loading.load("digits")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    model = bundle.build(DIGITS.model, key="model").eval()
    bundle.save(model, folder / "candidate", factory=DIGITS.model)
    (folder / "exported").mkdir()
    export(model, Data(DIGITS).example(), folder / "exported" / "candidate.onnx")
    return folder


@pytest.fixture
def judged(made, tmp_path):
    """What the steps before leave: a candidate, its export, the gate's verdict, report and record."""
    paths = {name: tmp_path / "run" / name for name in ("candidate", "exported", "verdict", "report")}
    shutil.copytree(made, tmp_path / "run")
    with Step("promote", workload=DIGITS.model_dump_json(), store=str(tmp_path / "store"), run="run-1") as step:
        check = Check(name="quality", family="quality", severity="block", status="passed", statement="as good")
        digests = {
            "candidate_sha256": hashing.of_file(paths["exported"] / "candidate.onnx"),
            "bundle_sha256": hashing.of_file(paths["candidate"] / "bundle.json"),
        }
        paths["verdict"].write_text(conclude([check], **digests, examples=10).model_dump_json())
        paths["report"].write_text("<html>")
        record = {"comparison": [], "champion": None, "verdict_sha256": hashing.of_file(paths["verdict"])}
        step.put_evidence("gate.json", json.dumps(record).encode())
        yield step, paths


def test_a_version_holds_all_that_it_was_judged_by_and_answers_before_it_is_champion(judged):
    step, paths = judged
    version = promote.run(step, **paths)
    assert step.registry.champion().version == version
    names = {file.path for file in step.registry.version(version).files}
    assert {"model.onnx", "requests.npz", "verdict.json", "report.html", "reference.safetensors"} <= names


def test_the_quantized_file_is_published_where_the_verdict_is_on_that(judged):
    step, paths = judged
    quantizer = Quantizer(paths["exported"] / "candidate.onnx", reduced=products.SATURATE)
    quantizer.calibrate([Data(DIGITS).example(batch_size=16)])
    served = quantizer.write(paths["exported"] / "quantized.onnx")
    verdict = json.loads(paths["verdict"].read_text()) | {"candidate_sha256": hashing.of_file(served)}
    paths["verdict"].write_text(json.dumps(verdict))
    record = {"comparison": [], "champion": None, "verdict_sha256": hashing.of_file(paths["verdict"])}
    step.put_evidence("gate.json", json.dumps(record).encode())
    version = step.registry.version(promote.run(step, **paths))
    assert {file.path: file.sha256 for file in version.files}["model.onnx"] == hashing.of_file(served)


def swap_bundle(paths):
    """A whole bundle of another model: its own digests are right."""
    other = bundle.build(DIGITS.model, key="model")
    with torch.no_grad():
        next(other.parameters()).mul_(2)
    bundle.save(other, paths["candidate"], factory=DIGITS.model)


def flip_weights(paths):
    file = paths["candidate"] / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def lengthen_onnx(paths):
    file = paths["exported"] / "candidate.onnx"
    file.write_bytes(file.read_bytes() + b"\0")


def reword_verdict(paths):
    file = paths["verdict"]
    file.write_text(file.read_text().replace("as good", "better"))


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (swap_bundle, "The candidate's bundle was altered"),
        (flip_weights, "weights.safetensors is damaged"),
        (lengthen_onnx, "The candidate was altered"),
        (reword_verdict, "The verdict was altered"),
    ],
)
def test_what_was_altered_after_the_gate_is_not_promoted(judged, alter, told):
    step, paths = judged
    alter(paths)
    with pytest.raises(IntegrityError, match=told):
        promote.run(step, **paths)
    assert step.registry.ids() == []
