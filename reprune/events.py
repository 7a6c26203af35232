"""What a running step tells whoever watches it: lines of JSON in a file, since steps are processes of their own."""

import json
import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "REPRUNE_EVENTS"
"""Environment variable that names the file; without it, steps print plain lines, as a pod's log wants them."""


WATCHER = "REPRUNE_WATCHER"
"""Environment variable with the process that watches; steps end when it is gone."""


def ask_to_stop() -> None:
    """Ask the step that writes to the environment's file to keep what it has and end."""
    path = os.environ.get(VARIABLE)
    if path:
        Path(path).with_suffix(".stop").touch()


def is_asked_to_stop() -> bool:
    """Return whether the run of this step asked it to end."""
    path = os.environ.get(VARIABLE)
    return path is not None and Path(path).with_suffix(".stop").exists()


class Events:
    """Writes the events of one step.

    Args:
        step: Name of the step.
        path: The file to append to; None prints instead.
    """

    def __init__(self, step: str, path: Path | None) -> None:
        self._step = step
        self._path = path

    @classmethod
    def from_environment(cls, step: str) -> "Events":
        """Write to the file that the environment names, if it names one."""
        path = os.environ.get(VARIABLE)
        return cls(step, Path(path) if path else None)

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event; a line is written in one piece, so readers never see half of one followed by another."""
        if self._path is None:
            text = fields.get("text") or fields.get("summary") or fields.get("message") or ""
            print(f"{self._step}: {event} {text}".rstrip(), flush=True)
            return
        line = json.dumps({"time": time.time(), "step": self._step, "event": event, **fields}) + "\n"
        with self._path.open("ab") as file:
            file.write(line.encode())


class Reader:
    """Reads events as they are appended.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """Return the events appended since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
