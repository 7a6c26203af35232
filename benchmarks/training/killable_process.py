"""Run work in a process that is killed after a given CPU time.

The process is forked, so it need not import torch again. CPU time is used since other work on the machine hardly
affects it.
"""

import contextlib
import json
import multiprocessing
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

FORK = multiprocessing.get_context("fork")


def run(work, *arguments, seconds=None):
    """Run work in a process, and kill it with SIGKILL after some CPU seconds.

    Args:
        work: Called in the process with the arguments and a function that reports a JSON value. Returns JSON.
        arguments: Inherited by the fork.
        seconds: CPU seconds after which the process is killed if it still runs.

    Returns:
        The reported values, and the result of the work: None if it was killed.
    """
    with TemporaryDirectory() as scratch:
        reports = Path(scratch) / "reports"
        reports.touch()
        process = FORK.Process(target=_call, args=(work, arguments, reports))
        process.start()
        while process.is_alive():
            if seconds is not None and _used(process.pid) > seconds:
                process.kill()
            process.join(0.005)
        assert process.exitcode in (0, -signal.SIGKILL)
        lines = reports.read_text().splitlines(keepends=True)
        end = None if process.exitcode else json.loads(reports.with_suffix(".end").read_text())
        return [json.loads(line) for line in lines if line.endswith("\n")], end


def _call(work, arguments, reports):
    def report(value):
        with reports.open("a") as file:
            file.write(json.dumps(value) + "\n")

    reports.with_suffix(".end").write_text(json.dumps(work(*arguments, report)))


def _used(process):
    """Return the CPU seconds of a process."""
    with contextlib.suppress(FileNotFoundError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
