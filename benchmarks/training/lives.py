"""Lives of a piece of work: each a process of its own, killed with SIGKILL once it has used a given amount of CPU time.

A life is forked from this process, so that it need not import torch again; CPU time is what other work on the machine
does not stretch.
"""

import contextlib
import json
import multiprocessing
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

FORK = multiprocessing.get_context("fork")


def live(work, *arguments, seconds=None):
    """Run a life to its end, or for so many seconds of CPU.

    Args:
        work: Called in the life with the arguments and with a function that tells a JSON value of what happens; what
            it returns is JSON, too.
        arguments: Inherited as they are.
        seconds: CPU seconds after which the life is killed, if it still goes on.

    Returns:
        What it told, and what it returned: None if it was killed.
    """
    with TemporaryDirectory() as scratch:
        told = Path(scratch) / "told"
        told.touch()
        process = FORK.Process(target=_life, args=(work, arguments, told))
        process.start()
        while process.is_alive():
            if seconds is not None and _used(process.pid) > seconds:
                process.kill()
            process.join(0.005)
        assert process.exitcode in (0, -signal.SIGKILL)
        lines = told.read_text().splitlines(keepends=True)
        end = None if process.exitcode else json.loads(told.with_suffix(".end").read_text())
        return [json.loads(line) for line in lines if line.endswith("\n")], end


def _life(work, arguments, told):
    def tell(value):
        with told.open("a") as file:
            file.write(json.dumps(value) + "\n")

    told.with_suffix(".end").write_text(json.dumps(work(*arguments, tell)))


def _used(process):
    """Return the CPU seconds of a process, as Linux tells them."""
    with contextlib.suppress(FileNotFoundError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
