import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from reprune.config.target import Target
from reprune.errors import InputError, StepError
from reprune.inference.latency import benchmark
from reprune.inference.latency.benchmark import CONTROL, Benchmark, compare
from reprune.inference.latency.bootstrap import Estimate, Recording

INPUTS = {"input": np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)}


@pytest.fixture(scope="module")
def measured(linear_onnx, tmp_path_factory):
    samples = tmp_path_factory.mktemp("samples") / "kept" / "samples.npz"
    shares = []
    models = {"dense": linear_onnx(64), "pruned": linear_onnx(8)}
    result = compare(models, INPUTS, Target(batch_size=4), seconds=0.6, samples=samples, progress=shares.append)
    return result, samples, shares, models


def test_every_model_and_a_control_of_the_baseline_are_timed(measured):
    result, _, _, models = measured
    assert set(result.models) == {"dense", "pruned", CONTROL}
    for timing in result.models.values():
        assert 0 < timing.p50_seconds.low <= timing.p50_seconds.value <= timing.p95_seconds.value
        assert timing.calls > 0 < timing.warm_up_calls
        assert timing.cold_start_seconds > 0
        assert timing.throughput > 0
    assert result.models["dense"].latency_ratio == Estimate(value=1, low=1, high=1)
    assert result.models["pruned"].size_bytes == models["pruned"].stat().st_size
    assert result.noise.low <= 1 <= result.noise.high
    assert result.sessions >= 2
    assert result.target.batch_size == 4


def test_raw_samples_are_kept_and_are_what_was_reported(measured):
    result, samples, _, _ = measured
    recording = Recording.load(samples)
    assert set(recording.samples) == set(result.models)
    assert len(recording.session_of_round) == result.rounds
    for name, timing in result.models.items():
        assert len(recording.samples[name].seconds) == timing.calls
        assert np.median(recording.samples[name].seconds) == pytest.approx(timing.p50_seconds.value)


@pytest.mark.parametrize("name", ["CUDA", "Tensorrt", "OpenVINO"])
def test_other_providers_are_measured_where_they_are(linear_onnx, name):
    provider = f"{name}ExecutionProvider"
    available = onnxruntime.get_available_providers()
    if provider not in available:
        pytest.skip(f"needs {provider}; onnxruntime {onnxruntime.__version__} here has {', '.join(available)}")
    result = compare({"dense": linear_onnx(64)}, INPUTS, Target(provider=provider), seconds=0.5)
    assert result.target.provider == provider
    assert result.models["dense"].calls > 0


def test_what_is_told_of_a_model_is_no_more_than_its_times_say(measured):
    result, *_ = measured
    spread = Estimate(value=1, low=0.9, high=1.1)

    def told(low, high):
        timing = result.models["pruned"].model_copy(
            update={"latency_ratio": Estimate(value=(low + high) / 2, low=low, high=high)}
        )
        return result.model_copy(update={"models": {"pruned": timing}, "noise": spread}).finding("pruned")

    assert told(0.4, 0.6) == "2.00x faster than dense (1.67 – 2.50)"
    assert told(1.9, 2.1) == "2.00x slower than dense (1.90 – 2.10)"
    assert told(0.8, 0.95) == "no difference from dense that can be told from noise"


def test_the_result_survives_json(measured):
    assert Benchmark.model_validate_json(measured[0].model_dump_json()) == measured[0]


def test_progress_rises_to_the_end(measured):
    shares = measured[2]
    assert shares == sorted(shares)
    assert shares[0] > 0 and shares[-1] > 0.9


@pytest.mark.parametrize(
    ("ratio", "spread", "faster", "slower"),
    [
        ((0.4, 0.5), (0.9, 1.11), True, False),
        ((0.85, 0.95), (0.9, 1.11), False, False),  # its interval reaches into the noise
        ((0.5, 1.3), (0.98, 1.02), False, False),
        ((1.2, 1.4), (0.9, 1.11), False, True),
    ],
)
def test_only_what_lies_outside_the_noise_is_faster_or_slower(measured, ratio, spread, faster, slower):
    result = measured[0]
    timing = result.models["pruned"].model_copy(
        update={"latency_ratio": Estimate(value=sum(ratio) / 2, low=ratio[0], high=ratio[1])}
    )
    changed = result.model_copy(
        update={"models": {"pruned": timing}, "noise": Estimate(value=1.0, low=spread[0], high=spread[1])}
    )
    assert (changed.faster("pruned"), changed.slower("pruned")) == (faster, slower)


def test_the_worker_loads_neither_torch_nor_anything_of_its_size():
    heavy = {"torch", "onnx", "scipy", "pandas", "kfp"}
    probe = f"import sys, reprune.inference.latency.benchmark_worker; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_baseline_that_is_not_there_is_named(linear_onnx):
    with pytest.raises(InputError, match="'dense'"):
        compare({"pruned": linear_onnx(8)}, INPUTS, Target())


def test_the_name_of_the_control_is_taken(linear_onnx):
    with pytest.raises(InputError, match=CONTROL):
        compare({"dense": linear_onnx(8), CONTROL: linear_onnx(8)}, INPUTS, Target())


def test_a_missing_file_is_named_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match=r"gone\.onnx"):
        compare({"dense": tmp_path / "gone.onnx"}, INPUTS, Target())


def test_no_examples_is_an_error(linear_onnx):
    with pytest.raises(InputError, match="holds no examples"):
        compare({"dense": linear_onnx(8)}, {"input": np.empty((0, 6), np.float32)}, Target())


def test_a_file_the_runtime_refuses_is_the_users_error_not_a_crash(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"refuses .*junk\.onnx"):
        compare({"dense": tmp_path / "junk.onnx"}, INPUTS, Target(), seconds=0.1)


def test_a_missing_input_and_a_wrong_shape_are_named(linear_onnx):
    with pytest.raises(InputError, match="no values for input"):
        compare({"dense": linear_onnx(8)}, {"x": INPUTS["input"]}, Target(), seconds=0.1)
    with pytest.raises(InputError, match=r"cannot run .*linear-8\.onnx"):
        compare({"dense": linear_onnx(8)}, {"input": INPUTS["input"][:, :5]}, Target(), seconds=0.1)


def test_a_worker_that_dies_is_a_failed_step_with_its_last_words(linear_onnx, monkeypatch):
    monkeypatch.setattr(benchmark.json, "dumps", lambda request: "{")
    with pytest.raises(StepError, match="JSONDecodeError"):
        compare({"dense": linear_onnx(8)}, INPUTS, Target(), seconds=0.1)
