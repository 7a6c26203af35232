"""What export_onnx leaves where the workload asks for fewer bits, and why there is sometimes none."""

import json

import pytest

from reprune.config import loading
from reprune.pruning import bundle
from reprune.steps import export_onnx, quantization
from reprune.steps.benchmark import QUANTIZED
from reprune.steps.context import Step

DIGITS = loading.load("digits")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """What the step leaves for a small network with random weights, in int8."""
    return run(tmp_path_factory.mktemp("exported"), quantize={"format": "int8", "examples": 32, "accuracy_drop": 0.05})


def run(folder, **changes):
    """Run the step on two untrained networks; returns its folder and record."""
    factory = "reprune.workloads.digits.model:build"
    model = bundle.build(factory, key="model").eval()
    bundle.save(model, folder / "dense", factory=factory)
    asked = DIGITS.replace(gate={"quantization_agreement": 0.5}, **changes)
    with Step("export_onnx", workload=asked.model_dump_json(), store=str(folder / "store"), run="run-1") as step:
        paths = {"dense": folder / "dense", "candidate": folder / "dense", "report": folder / "report.html"}
        export_onnx.run(step, **paths, exported=folder / "exported")
    return folder / "exported", json.loads((folder / "exported" / "export.json").read_text())


def test_the_quantized_file_lies_beside_the_others_with_what_it_loses(exported):
    folder, record = exported
    found = quantization.Quantization.model_validate(record["quantization"])
    assert found.status == "made" and found.calibration == "minmax" and found.calibration_examples == 32
    assert found.size_bytes == (folder / QUANTIZED).stat().st_size < record["models"]["candidate"]["size_bytes"] / 3
    assert found.mixed.loss.parity.examples > 100 and list(found.hop) == ["candidate: ONNX → int8"]
    assert "candidate: ONNX → int8" in (folder.parent / "report.html").read_text()


@pytest.fixture
def asked(tmp_path, exported):
    """Quantize what was exported again, under another workload."""

    def quantize(**changes):
        candidate = tmp_path / "candidate.onnx"
        candidate.write_bytes((exported[0] / "candidate.onnx").read_bytes())
        text = DIGITS.replace(**changes).model_dump_json()
        with Step("export_onnx", workload=text, store=str(tmp_path / "store"), run="run-1") as step:
            return quantization.quantize(step, candidate), (tmp_path / QUANTIZED).exists()

    return quantize


def test_nothing_is_made_unless_asked(asked):
    assert asked() == (None, False)


def test_a_model_without_what_a_format_is_for_stays_in_float(asked):
    found, exists = asked(quantize="weights-int4")
    assert found.status == "impossible" and not exists
    assert found.statement.startswith("float is served: ") and "weights-int4 is made for (MatMul)" in found.statement


def test_a_provider_without_kernels_stays_in_float(asked):
    found, exists = asked(quantize="int8", target={"provider": "CUDAExecutionProvider"})
    assert found.status == "impossible" and not exists
    assert "CUDAExecutionProvider has no kernels for int8" in found.statement


def test_what_loses_too_much_is_not_kept(asked):
    gate = {"quantization_error": 1e-9}
    found, exists = asked(quantize="dynamic-int8", gate=gate)
    assert found.status == "lossy" and not exists and found.sha256 is None
    assert found.statement.startswith("float is served: dynamic-int8 loses")
    assert not found.mixed.holds
