"""An honest benchmark: interleaved, in a fresh process, and nothing called faster that lies inside the control."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.config.target import Machine, Target, machine
from reprune.errors import InputError, StepError
from reprune.inference.latency.bootstrap import Estimate, Recording, noise, quantiles, ratio
from reprune.inference.latency.system_load import Load

CONTROL = "control"
"""Name of the second, identical session of the baseline that every benchmark carries."""

COLD_STARTS = 3
ROUNDS_SHARE = 0.8
"""Of the progress that is told; the cold starts that follow have the rest."""

_GRACE_SECONDS = 300.0

Paths = Mapping[str, str | os.PathLike[str]]
Progress = Callable[[float], None]


class ModelTiming(BaseModel):
    """What one model took.

    Attributes:
        p50_seconds: Median latency of one inference of the target's batch; 95th and 99th percentile likewise.
        throughput: Examples a second, one inference after the other.
        latency_ratio: Latency divided by the baseline's, paired by round.
        size_bytes: Size of the ONNX file.
        cold_start_seconds: From opening the file in a fresh process to the first answer (median of three).
        peak_memory_bytes: Peak of resident memory while it opened and answered first, above the runtime's own; None
            where the system does not tell.
        calls: Inferences timed.
        warm_up_calls: Inferences made before, until latency had settled.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    p50_seconds: Estimate
    p95_seconds: Estimate
    p99_seconds: Estimate
    throughput: float
    latency_ratio: Estimate
    size_bytes: int
    cold_start_seconds: float
    peak_memory_bytes: int | None
    calls: int
    warm_up_calls: int


class Benchmark(BaseModel):
    """Models timed against each other on one machine.

    Attributes:
        target: Provider, threads and batch size.
        machine: Where it ran.
        baseline: Name of the model that ratios refer to.
        models: Timings by name; ``control`` is the baseline a second time.
        noise: Ratio of the control to the baseline, with the spread that a ratio must leave to mean anything.
        rounds: Interleaved rounds.
        sessions: Times that all models were opened anew.
        load: What else the machine was doing.
        pinned_cores: Cores that the process was bound to; none where the system does not let it choose.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    target: Target
    machine: Machine
    baseline: str
    models: dict[str, ModelTiming]
    noise: Estimate
    rounds: int
    sessions: int
    load: Load
    pinned_cores: tuple[int, ...] = ()

    def speedup(self, name: str) -> Estimate:
        """Return how many times faster than the baseline a model is, with its interval."""
        return self.models[name].latency_ratio.inverse()

    def faster(self, name: str) -> bool:
        """Return whether a model is faster than the baseline beyond what two identical models show."""
        return self.models[name].latency_ratio.high < self.noise.low

    def slower(self, name: str) -> bool:
        """Return whether a model is slower than the baseline beyond what two identical models show."""
        return self.models[name].latency_ratio.low > self.noise.high

    def finding(self, name: str) -> str:
        """Return in words what the times of a model say against the baseline, and no more than they say."""
        gain = self.speedup(name)
        if self.faster(name):
            return f"{gain.value:.2f}x faster than {self.baseline} ({gain.low:.2f} – {gain.high:.2f})"
        if self.slower(name):
            ratio = self.models[name].latency_ratio
            return f"{ratio.value:.2f}x slower than {self.baseline} ({ratio.low:.2f} – {ratio.high:.2f})"
        return f"no difference from {self.baseline} that can be told from noise"


def compare(
    models: Paths,
    inputs: Mapping[str, np.ndarray],
    target: Target,
    *,
    baseline: str = "dense",
    seconds: float = 10.0,
    seed: int = 0,
    samples: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Time ONNX models against each other, and the baseline against itself.

    Args:
        models: ONNX files by name.
        inputs: Examples by input name, batch first; they are repeated or cut to the target's batch size.
        target: Where the models are served.
        baseline: The model that the others are divided by.
        seconds: Time for the interleaved rounds; process starts and cold starts come on top, and a model so slow that
            five rounds take longer is given them.
        seed: Seed of the order of the rounds and of the bootstrap.
        samples: An ``.npz`` file to keep every duration in (`statistics.Recording` reads it).
        progress: Called with the share done, 0 to 1.

    Raises:
        InputError: The baseline is not among the models, an input is missing, or the runtime refuses a model.
        StepError: The benchmark's process ended early.
    """
    _check(models, baseline, target)
    files = {name: os.path.abspath(path) for name, path in models.items()}
    with tempfile.TemporaryDirectory(prefix="reprune-benchmark-") as folder:
        feeds = Path(folder) / "inputs.npz"
        np.savez(feeds, **_batch(inputs, target.batch_size))  # type: ignore[arg-type]
        common = {"target": target.model_dump(), "inputs": os.fspath(feeds)}
        raw = Path(folder) / "samples.npz"
        timed = files | {CONTROL: files[baseline]}
        request = {"kind": "rounds", "models": timed, "seconds": seconds, "seed": seed, "samples": os.fspath(raw)}
        tell = progress or (lambda share: None)
        outcome = _work(common | request, seconds, lambda share: tell(ROUNDS_SHARE * share))
        cold = {}
        for name, path in files.items():
            cold[name] = _cold_start(common, path)
            tell(ROUNDS_SHARE + (1 - ROUNDS_SHARE) * len(cold) / len(files))
        cold[CONTROL] = cold[baseline]
        recording = Recording.load(raw)
        if samples is not None:
            Path(samples).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(raw, samples)
    return _summarize(recording, outcome, cold, timed, target, baseline, seed)


def _check(models: Paths, baseline: str, target: Target) -> None:
    target.check()
    if baseline not in models:
        raise InputError(f"There is no model named {baseline!r} to compare with.", f"Use one of {', '.join(models)}.")
    if CONTROL in models:
        raise InputError(f"A model cannot be named {CONTROL!r}: the baseline's second session is.", "Rename it.")
    for path in models.values():
        if not Path(path).is_file():
            raise InputError(f"There is no ONNX file at {os.fspath(path)}.", "Name a file that `export_onnx` wrote.")


def _batch(inputs: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    for name, value in inputs.items():
        if value.ndim == 0 or not len(value):
            raise InputError(f"The benchmark's input {name!r} holds no examples.", "Hand in at least one example.")
    return {name: value[np.arange(size) % len(value)] for name, value in inputs.items()}


def _cold_start(common: dict[str, Any], path: str) -> tuple[float, int | None]:
    """Return the median seconds to the first answer and the median peak memory over fresh processes."""
    starts = [_work(common | {"kind": "cold_start", "model": path}, 0.0, None) for _ in range(COLD_STARTS)]
    peaks = [start["peak_memory_bytes"] for start in starts if start["peak_memory_bytes"] is not None]
    return float(np.median([start["seconds"] for start in starts])), int(np.median(peaks)) if peaks else None


def _work(request: dict[str, Any], seconds: float, progress: Progress | None) -> dict[str, Any]:
    """Run one request in a fresh process and return its result."""
    command = [sys.executable, "-P", "-m", "reprune.inference.latency.benchmark_worker"]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        overdue = threading.Timer(10 * seconds + _GRACE_SECONDS, process.kill)
        overdue.start()
        try:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            message: dict[str, Any] = {}
            for line in process.stdout:
                message = json.loads(line)
                if progress is not None and "done" in message:
                    progress(message["done"])
        finally:
            overdue.cancel()
            process.kill()
            process.wait()
        if "error" in message:
            raise InputError(message["error"], message["remedy"])
        if "result" not in message:
            errors.seek(0)
            last_words = errors.read()[-2000:].strip()
            raise StepError(
                f"The benchmark's process ended early (exit code {process.returncode}): {last_words}",
                "A killed process (-9) ran out of memory or time; otherwise the lines above say what failed.",
            )
        result: dict[str, Any] = message["result"]
        return result


def _summarize(
    recording: Recording,
    outcome: dict[str, Any],
    cold: dict[str, tuple[float, int | None]],
    files: dict[str, str],
    target: Target,
    baseline: str,
    seed: int,
) -> Benchmark:
    rng = np.random.default_rng(seed)
    sessions, dense = recording.session_of_round, recording.samples[baseline]
    timings = {}
    for name, record in recording.samples.items():
        p50, p95, p99 = quantiles(record, (0.5, 0.95, 0.99), rng)
        timings[name] = ModelTiming(
            p50_seconds=p50,
            p95_seconds=p95,
            p99_seconds=p99,
            throughput=target.batch_size / float(np.mean(record.seconds)),
            latency_ratio=ratio(record, dense, sessions, rng),
            size_bytes=_size(files[name]),
            cold_start_seconds=cold[name][0],
            peak_memory_bytes=cold[name][1],
            calls=len(record.seconds),
            warm_up_calls=outcome["warm_up_calls"][name],
        )
    return Benchmark(
        target=target,
        machine=machine(),
        baseline=baseline,
        models=timings,
        noise=noise(recording.samples[CONTROL], dense, sessions, rng),
        rounds=len(sessions),
        sessions=outcome["sessions"],
        load=Load.model_validate(outcome["load"]),
        pinned_cores=tuple(outcome["pinned_cores"]),
    )


def _size(path: str) -> int:
    """Return the size of an ONNX file, with its weights where they lie beside it."""
    beside = Path(f"{path}.data")
    return os.path.getsize(path) + (beside.stat().st_size if beside.is_file() else 0)
