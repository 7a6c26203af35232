"""The process that a benchmark runs in: numpy and onnxruntime, nothing else. Started as ``python -m``.

Standard input brings one request as JSON. Standard output carries lines of JSON: ``{"done": share}`` while it works,
then ``{"result": ...}``, or ``{"error": message, "remedy": remedy}``.
"""

import functools
import gc
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from reprune.config.target import Target
from reprune.errors import InputError, RepruneError
from reprune.inference.latency.cpu_affinity import pin
from reprune.inference.latency.system_load import LoadMeter
from reprune.inference.latency.timing import Samples, interleave
from reprune.inference.session import CPU, open_session

LEAST_SESSIONS = 5
"""Sessions of one model differ a little, by where its weights come to lie; several are opened where time allows."""

SETUP_SHARE = 0.2


def main() -> int:
    """Do what the request on standard input asks for."""
    request = json.load(sys.stdin)
    work = {"rounds": time_rounds, "cold_start": time_cold_start}[request["kind"]]
    try:
        _say(result=work(request))
    except RepruneError as error:
        _say(error=error.message, remedy=error.remedy)
    return 0


def time_rounds(request: dict[str, Any]) -> dict[str, Any]:
    """Time several models against each other and write every sample to the request's file.

    Returns:
        Sessions, warm-up calls by model, the background load, and the cores that the process was bound to.
    """
    target = Target.model_validate(request["target"])
    cores = _pin(target)
    paths: dict[str, str] = request["models"]
    feeds = dict(np.load(request["inputs"], allow_pickle=False))
    rng = random.Random(request["seed"])
    samples = {name: Samples() for name in paths}
    meter, begin, seconds = LoadMeter(), time.monotonic(), request["seconds"]
    session_of_round: list[int] = []
    sessions = 0
    while not sessions or time.monotonic() - begin < 0.95 * seconds:
        opening = time.monotonic()
        calls = {name: _inference(paths[name], target, feeds) for name in rng.sample(list(paths), len(paths))}
        setup = time.monotonic() - opening
        used = time.monotonic() - begin
        share = min(max(seconds / LEAST_SESSIONS, setup / SETUP_SHARE), max(seconds - used, 0.0))
        tick = functools.partial(_progress, used / seconds, share / seconds)
        rounds = interleave(calls, samples, seconds=max(share, 1e-3), rng=rng, tick=tick)
        session_of_round += [sessions] * rounds
        sessions += 1
        del calls
        gc.collect()
    load = meter.read(target.threads)
    _save(Path(request["samples"]), samples, session_of_round)
    warm_up_calls = {name: record.warm_up_calls for name, record in samples.items()}
    return {"sessions": sessions, "warm_up_calls": warm_up_calls, "load": load.model_dump(), "pinned_cores": cores}


def time_cold_start(request: dict[str, Any]) -> dict[str, Any]:
    """Open one model in this fresh process and run it once; its file may already be in the page cache.

    Returns:
        Seconds from opening to the first answer, and the peak of resident memory above what the process held before
        (None where the system does not tell).
    """
    target = Target.model_validate(request["target"])
    _pin(target)
    feeds = dict(np.load(request["inputs"], allow_pickle=False))
    before = _restart_peak()
    start = time.perf_counter()
    _inference(request["model"], target, feeds)()
    seconds = time.perf_counter() - start
    peak = _memory("VmHWM") if before is not None else None
    return {"seconds": seconds, "peak_memory_bytes": None if peak is None or before is None else max(peak - before, 0)}


def _pin(target: Target) -> tuple[int, ...]:
    """Bind this process to cores; not beside an accelerator, whose driver has threads of its own."""
    return pin(target.threads) if target.provider == CPU else ()


def _inference(path: str, target: Target, feeds: dict[str, np.ndarray]) -> Callable[[], object]:
    session = open_session(path, target)
    wanted = [value.name for value in session.get_inputs()]
    missing = [name for name in wanted if name not in feeds]
    if missing:
        raise InputError(
            f"{path} has the inputs {', '.join(wanted)}; there are no values for {', '.join(missing)}.",
            f"Hand in arrays by these names; there were {', '.join(feeds) or 'none'}.",
        )
    chosen = {name: feeds[name] for name in wanted}
    call: Callable[[], object] = lambda: session.run(None, chosen)  # noqa: E731
    try:
        call()
    except Exception as error:  # the runtime's exceptions share no base class of their own
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} cannot run {path} on {target.label()}: {error}",
            "Hand in inputs of the shapes and types that the model was exported with.",
        ) from error
    return call


def _save(path: Path, samples: dict[str, Samples], session_of_round: list[int]) -> None:
    arrays: dict[str, np.ndarray] = {"names": np.array(list(samples)), "session_of_round": np.array(session_of_round)}
    for i, record in enumerate(samples.values()):
        arrays[f"seconds_{i}"] = np.array(record.seconds, dtype=np.float32)
        arrays[f"rounds_{i}"] = np.array(record.rounds, dtype=np.int32)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def _restart_peak() -> int | None:
    """Let the kernel count the peak of resident memory from now on, and return what is resident now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _memory("VmRSS")


def _memory(field: str) -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def _progress(before: float, weight: float, part: float) -> None:
    _say(done=min(before + part * weight, 1.0))


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
