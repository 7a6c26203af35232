"""A process that judges windows within limits, so that no window can stop the monitor.

It is started when a look finds its first new window, judges the windows of that look one after the other, and ends with
it: starting takes about two seconds, most of them for imports. It is fed lines of JSON, and its answers are checked.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from pydantic import BaseModel

from reprune.config.workload import Workload
from reprune.drift.monitor.worker_messages import Answer, Judged, Order, Setup
from reprune.errors import RepruneError, StepError
from reprune.storage.base import Store

log = logging.getLogger(__name__)

PROGRAM = ("-m", "reprune.drift.monitor.window_worker")
START_SECONDS = 120.0
"""Longest time until the process is ready: a task of the user's own may import torch."""
LONGEST_ANSWER = 1 << 24
SECRETS = ("REPRUNE_MONITOR_TOKEN", "REPRUNE_MONITOR_TOKEN_FILE")
"""Variables that are not handed on to a process that reads windows."""


class LimitError(RepruneError):
    """Judging a window broke a limit or ended the process; the message says why, and the monitor goes on."""


class ClosedError(RepruneError):
    """The monitor ends; the window is judged when it is back."""


class Confined:
    """Judges windows in another process.

    Args:
        workload: The workload.
        store: Where its log is.
        program: Arguments for Python that start the process.
    """

    def __init__(self, workload: Workload, store: Store, program: Sequence[str] = PROGRAM) -> None:
        self._setup = Setup(workload=workload.model_dump(mode="json"), store=store.uri)
        self._policy, self._program = workload.monitor, program
        self._process: subprocess.Popen[str] | None = None
        self._scratch: TemporaryDirectory[str] | None = None
        self._judged, self._closed = 0, False

    def judge(self, order: Order) -> Judged:
        """Judge a window.

        One that breaks a limit after others is tried again in a new process: it may have been their fault.

        Raises:
            LimitError: It broke a limit, or ended the process.
            ClosedError: The monitor ends.
            RepruneError: What the process raised; or it cannot be started.
        """
        while True:
            self._start()
            if self._closed:
                raise ClosedError("The monitor ends.", "Start it again: the window is judged then.")
            first = self._judged == 0
            began = time.monotonic()
            answer = self._ask(order)
            if answer is not None and not answer.short_of_memory:
                self._judged += 1
                return _judged(answer, order)
            reason = self._end(answer, time.monotonic() - began)
            if not self._closed and (first or reason == self._too_long):
                raise LimitError(reason)
            log.info("%s: %s, after other windows; tried again in a new process", order.key, reason)

    def end(self) -> None:
        """End the process, if it runs; it is started again when it is needed."""
        process, self._process, self._judged = self._process, None, 0
        if process is not None:
            _kill(process)
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert stream is not None
                    stream.close()
        if self._scratch is not None:
            self._scratch.cleanup()  # a process that was killed leaves its window behind
            self._scratch = None

    def close(self) -> None:
        """End the process for good, from any thread."""
        self._closed = True
        process = self._process
        if process is not None and process.returncode is None:
            _kill(process)

    @property
    def _too_long(self) -> str:
        return f"judging it takes longer than {self._policy.window_seconds:g} s (monitor.window_seconds)"

    def _start(self) -> None:
        """Start the process if it does not run.

        Raises:
            RepruneError: It cannot judge anything; that is not the window's fault.
        """
        if self._process is not None or self._closed:
            return
        self._scratch = TemporaryDirectory(prefix="reprune-windows-", ignore_cleanup_errors=True)
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        try:
            self._process = subprocess.Popen(
                [sys.executable, *self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment | {"TMPDIR": self._scratch.name},
                start_new_session=True,  # an interrupt is for the monitor alone, and its own children end with it
            )
        except OSError as error:
            self.end()
            raise StepError(f"No process can be started: {error}.", "Make room on this machine.") from None
        answer = self._exchange(self._setup, START_SECONDS)
        if answer is None or not answer.ready:
            self.end()
            if answer is not None and answer.failure is not None:
                raise answer.failure.error()
            if self._closed:
                return
            raise StepError("The process that judges windows does not start.", "Read the log for its last lines.")

    def _ask(self, order: Order) -> Answer | None:
        return self._exchange(order, self._policy.window_seconds)

    def _exchange(self, line: BaseModel, seconds: float) -> Answer | None:
        """Send a line and return the answer; None if there is none in time, or none that makes sense."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        if self._closed:
            return None
        timer = threading.Timer(seconds, _kill, [process])
        timer.start()
        try:
            process.stdin.write(line.model_dump_json() + "\n")
            process.stdin.flush()
            return Answer.model_validate_json(process.stdout.readline(LONGEST_ANSWER))
        except (OSError, ValueError):  # it has ended, or wrote something else
            return None
        finally:
            timer.cancel()

    def _end(self, answer: Answer | None, seconds: float) -> str:
        """End the process, and return why it gave no verdict."""
        process = self._process
        assert process is not None
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=0 if answer else 1)
        self.end()
        if answer is not None:
            return (
                f"judging it takes more than {self._policy.window_memory_megabytes:,} MB of memory "
                f"(monitor.window_memory_megabytes)"
            )
        if code is not None and code < 0 and seconds >= self._policy.window_seconds:
            return self._too_long
        if code is not None and code < 0:
            memory = "; was there memory enough?" if code == -signal.SIGKILL else ""
            return f"the process that judged it was killed by signal {-code} ({signal.Signals(-code).name}){memory}"
        if code is not None:
            return f"the process that judged it ended with code {code}"
        return "the process that judged it answered nothing that makes sense"


def _judged(answer: Answer, order: Order) -> Judged:
    if answer.failure is not None:
        raise answer.failure.error()
    if answer.judged is None or answer.judged.window.key != order.key:
        raise LimitError("the process that judged it answered for another window")
    return answer.judged


def _kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
