"""A quantized candidate: when it is served in place of float, and what the gate asks of it."""

from dataclasses import replace

import pytest

from reprune.config.gate import GatePolicy
from reprune.config.sections import Budget
from reprune.config.target import Target
from reprune.data.tasks import Classification
from reprune.gate.evaluate import judge
from reprune.gate.evidence import collect
from reprune.gate.format_choice import Quantized, as_candidate, pays
from reprune.inference.onnx.mixed_precision import compare_files
from reprune.inference.onnx.quantize import Quantizer
from reprune.report.report import write_report
from tests.reprune.onnx import products

LATENCY_OFF = GatePolicy(latency="off", tail_latency="off", extreme_latency="off")


def with_int8(run, p50, target=None):
    """A benchmark in which int8 has a given ratio to dense; the float candidate has 0.4."""
    ratio = run.models["pruned"].latency_ratio
    timing = run.models["pruned"].model_copy(
        update={"latency_ratio": type(ratio)(value=p50, low=0.98 * p50, high=1.02 * p50)}
    )
    return run.model_copy(update={"models": {**run.models, "int8": timing}, "target": target or run.target})


def test_int8_pays_where_it_is_faster_on_every_target_beyond_noise(timed):
    faster, said = pays([with_int8(timed(), 0.2)], "int8")
    assert faster and said.startswith("int8 is served: 2.00x")
    faster, said = pays([with_int8(timed(), 0.2), with_int8(timed(), 0.5, Target(batch_size=32))], "int8")
    assert not faster and "0.80x" in said and "batch 32" in said and said.startswith("float is served")


@pytest.mark.parametrize("p50", [0.39, 0.4, 0.6])
def test_in_doubt_float_is_kept(timed, p50):
    assert not pays([with_int8(timed(), p50)], "int8")[0]


def test_as_candidate_the_quantized_file_stands_where_the_gate_looks(timed):
    run = as_candidate(with_int8(timed(), 0.2), "int8")
    assert set(run.models) == {"dense", "pruned", "float", "control"}
    assert run.models["pruned"].latency_ratio.value == 0.2 and run.models["float"].latency_ratio.value == 0.4


@pytest.fixture(scope="module")
def quantized(dense, data, tmp_path_factory):
    quantizer = Quantizer(dense, reduced=products.SATURATE)
    quantizer.calibrate([inputs for inputs, _ in data.batches("train", limit=256)])
    return quantizer.write(tmp_path_factory.mktemp("quantized") / "quantized.onnx")


@pytest.fixture(scope="module")
def evidence(workload, data, dense, quantized, equal, timed):
    loss = compare_files(dense, quantized, data.batches("validation"), Classification(), Target())
    origin = Quantized("int8", dense, {"candidate: ONNX → int8": loss.parity})
    run = as_candidate(with_int8(timed(), 0.2), "int8")
    return collect(
        workload.replace(gate={"robustness": "off"}),
        data=data,
        dense=dense,
        candidate=quantized,
        parity=equal.parity,
        quantized=origin,
        benchmarks=[run],
    )


def test_the_gate_judges_the_quantized_file_by_its_own_evidence(evidence, quantized):
    verdict = judge(evidence, GatePolicy(), Budget(latency="0.3x", accuracy_drop=0.02, size="0.6x"))
    assert verdict.passed, verdict.reasons()
    assert evidence.size_bytes["pruned"] == quantized.stat().st_size < 0.6 * evidence.size_bytes["float"]
    hop = verdict.named("parity: candidate: ONNX → int8")
    assert hop.status == "passed" and hop.estimate > 1e-3
    assert (evidence.answers["float"].scores == evidence.answers["dense"].scores).all()
    assert (evidence.answers["pruned"].losses != evidence.answers["dense"].losses).any()


def test_a_quantized_file_that_answers_otherwise_is_refused(evidence):
    hop = evidence.quantized.hop["candidate: ONNX → int8"]
    for changed in (
        {"argmax_agreement": 0.9},
        {"max_abs_error": 0.5 * hop.output_scale},
        {"max_abs_error": float("nan")},
    ):
        origin = replace(evidence.quantized, hop={"int8": hop.model_copy(update=changed)})
        verdict = judge(replace(evidence, quantized=origin), LATENCY_OFF, Budget(accuracy_drop=0.02))
        assert [check.name for check in verdict.checks if check.blocks] == ["parity: int8"]


def test_the_report_shows_both_files_and_why_one_is_served(evidence, tmp_path):
    verdict = judge(evidence, GatePolicy(), Budget(latency="0.3x", accuracy_drop=0.02))
    said = "int8 is served: 2x as fast as float"
    write_report(
        tmp_path / "report.html", title="digits", subtitle="", verdict=verdict, evidence=evidence, quantization=said
    )
    text = (tmp_path / "report.html").read_text()
    assert "pruned, int8" in text and "pruned, float" in text and "int8 is served: 2x as fast as float" in text
    assert "candidate: ONNX → int8" in text
