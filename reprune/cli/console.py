"""The steps of a run as a person watches them: what is done, what is under way, and how long it will take."""

import threading
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reprune.events import Reader
from reprune.formatting import clock

POLL_SECONDS = 0.2
NAME_WIDTH = 22
"""Enough for the longest name of a step, and a gap."""


class Watch:
    """Shows the events of a run while it goes on; a context manager around the run.

    On a terminal the step under way is redrawn in place; elsewhere each step is one line when it has ended.

    Args:
        reader: Where the events come from.
        console: Where they are shown.
    """

    def __init__(self, reader: Reader, console: Console) -> None:
        self.work_seconds = 0.0
        self.failure: dict[str, Any] | None = None
        self.run_id = ""
        self._reader = reader
        self._console = console
        self._step: str | None = None
        self._started = 0.0
        self._progress: dict[str, Any] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._under_way)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Watch":
        if self._console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._console.is_terminal:
            self._live.stop()

    def _follow(self) -> None:
        while True:
            last = self._over.is_set()
            for event in self._reader.new():
                self._take(event)
            if last:
                return
            self._over.wait(POLL_SECONDS)

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "started":
            self._step, self._started, self._progress = event["step"], event["time"], {}
            self.run_id = event["run"]
        elif kind == "progress":
            self._progress = event
        elif kind == "told":
            self._console.print(Text(f"    · {event['text']}", style="dim"), soft_wrap=True)
        elif kind == "warning":
            self._console.print(Text("  ! ", style="yellow") + Text(event["text"]), soft_wrap=True)
        else:
            seconds = event.get("seconds", event["time"] - self._started)
            self.work_seconds += seconds
            self._step = None
            ok = kind == "finished"
            if not ok:
                self.failure = self.failure or event
            self._console.print(
                _line(event["step"], event.get("summary", ""), seconds, ok=ok, width=self._console.width)
            )

    def _under_way(self) -> Table | Text:
        if self._step is None:
            return Text("  ◌ …", style="dim")
        seconds = time.time() - self._started
        fraction = self._progress.get("fraction")
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        row.add_column(width=14)
        row.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=1.0, completed=fraction, width=14) if fraction is not None else Text("")
        left = f"{clock(seconds * (1 - fraction) / fraction)} left" if fraction and seconds > 2 else clock(seconds)
        row.add_row(
            Text(f"  ● {self._step:<{NAME_WIDTH}}", style="bold"), Text(self._progress.get("text", "")), bar, left
        )
        return row


def _line(step: str, summary: str, seconds: float, *, ok: bool, width: int) -> Table:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(no_wrap=True)
    row.add_column(ratio=1, overflow="fold")
    row.add_column(justify="right", no_wrap=True)
    mark = Text("  ✓ ", style="green") if ok else Text("  ✗ ", style="bold red")
    row.add_row(mark + Text(f"{step:<{NAME_WIDTH}}"), Text(summary), Text(f"{seconds:.1f} s", style="dim"))
    row.width = min(width, 110)
    return row
