"""The process that judges windows: reads orders and writes answers, a line each, within limits of memory and time.

The monitor starts it (`reprune.drift.monitor.confined_process`) and ends it when a window takes too long. Should the
monitor die first, the kernel's own alarm ends this process.
"""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from reprune.config.workload import Workload
from reprune.drift.monitor.worker_messages import Answer, Failure, Order, Setup
from reprune.errors import RepruneError

if TYPE_CHECKING:
    from reprune.drift.monitor.window_judgement import Judge

MEGABYTE = 10**6
MODEL_COPIES = 4
"""Times the champion's file that ONNX Runtime may take in memory: the file, its tensors, and two sessions' copies."""
THREAD_BYTES = 16 << 20
"""Memory that a thread of a library may take for itself; there may be one for each core."""
ALARM_SECONDS = 60
"""Time after the limit in which the monitor ends this process, before the kernel does."""


def main() -> None:
    """Judge the windows that standard input names, until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    try:
        setup = Setup.model_validate_json(sys.stdin.readline())
        workload, judge = _prepared(setup)
    except RepruneError as error:
        _write(answers, Answer(failure=Failure.of(error)))
        return
    policy, before = workload.monitor, _data_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (policy.window_file_megabytes * MEGABYTE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _write(answers, Answer(ready=True))
    for line in sys.stdin:
        order = Order.model_validate_json(line)
        _limit_memory(before, policy.window_memory_megabytes * MEGABYTE, order.folder)
        signal.alarm(int(policy.window_seconds) + ALARM_SECONDS)
        try:
            answer = Answer(judged=judge.judge(order))
        except MemoryError:
            answer = Answer(short_of_memory=True)
        except RepruneError as error:
            answer = Answer(failure=Failure.of(error))
        signal.alarm(0)
        _write(answers, answer)


def _prepared(setup: Setup) -> "tuple[Workload, Judge]":
    """Return the workload and its judge, with all that is imported before the limits hold."""
    from reprune.config import entry_points
    from reprune.drift.monitor.window_judgement import Judge
    from reprune.storage.uri import open_store

    workload = Workload.model_validate(setup.workload)
    entry_points.use_code(workload.code)
    return workload, Judge(workload, open_store(setup.store))


def _limit_memory(before: int | None, allowed: int, folder: Path) -> None:
    """Limit what this process may allocate; elsewhere than on Linux the kernel does not count it."""
    if before is None:
        return
    model = sum(file.stat().st_size for file in folder.iterdir())
    most = before + allowed + MODEL_COPIES * model + THREAD_BYTES * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))


def _data_bytes() -> int | None:
    """Return the private memory that may be written, as RLIMIT_DATA counts it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def _write(answers: TextIO, answer: Answer) -> None:
    answers.write(answer.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
