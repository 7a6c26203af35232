"""Where a re-prune runs: nowhere (a dry run), or on this machine; `reprune.monitoring.kubeflow` has a third place."""

import json
import os
import subprocess
import sys
from pathlib import Path

from reprune.drift.monitor.confined_process import SECRETS
from reprune.drift.monitor.monitor_state import Launch, Outcome
from reprune.errors import StepError

OUTCOMES: tuple[Outcome, ...] = ("promoted", "waiting", "rejected", "nothing-to-do")


class DryRun:
    """Starts nothing; the state says what would have been started."""

    dry_run = True

    def start(self, launch: Launch) -> str:
        """Do nothing."""
        return ""

    def find(self, launch: Launch) -> str | None:
        """Return None: nothing runs."""
        return None

    def outcome(self, launch: Launch) -> Outcome | None:
        """Return that it was a dry run."""
        return "dry-run"


class Local:
    """Starts ``reprune run`` on this machine. It goes on when the monitor ends, and is found again when it is back.

    Args:
        workload: The workload as ``reprune run`` takes it.
        store: URI of the store.
        folder: Where the runs leave their logs and results.
    """

    dry_run = False

    def __init__(self, workload: str, store: str, folder: Path) -> None:
        run = ["run", workload, "--store", store, "--trigger", "alert", "--json"]
        self.command = [sys.executable, "-m", "reprune", *run]
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, launch: Launch) -> str:
        """Start the process, and return its identifier and start time."""
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._file(launch, "json").open("wb") as result, self._file(launch, "log").open("wb") as log:
                child = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=result,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # an interrupt is for the monitor alone
                )
            self._children[launch.id] = child
            handle = f"{child.pid} {_started(child.pid)}"
            self._file(launch, "pid").write_text(handle)
        except OSError as error:
            raise StepError(f"reprune run cannot be started: {error}.", "Make room on this machine.") from None
        return handle

    def find(self, launch: Launch) -> str | None:
        """Return what `start` wrote down."""
        try:
            return self._file(launch, "pid").read_text()
        except OSError:
            return None

    def outcome(self, launch: Launch) -> Outcome | None:
        """Return None while the process runs, then what it says of itself."""
        child = self._children.get(launch.id)
        if child is not None and child.poll() is None:
            return None
        pid, _, started = launch.handle.partition(" ")
        if child is None and pid.isdecimal() and started and _started(int(pid)) == started:
            return None
        try:
            said = json.loads(self._file(launch, "json").read_text().splitlines()[-1])["outcome"]
        except (OSError, ValueError, LookupError, TypeError):
            return "failed"
        return said if said in OUTCOMES else "failed"

    def _file(self, launch: Launch, suffix: str) -> Path:
        return self._folder / f"{launch.id}.{suffix}"


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks, so that another one of its number is not taken for it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
