"""The terminal, or whatever stands in its place."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from reprune.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 118
"""Columns of the output where it does not go to a terminal."""


def console(out: TextIO) -> "Console":
    """Return a console bound to a stream now, since kfp's own prints are sent to the log later."""
    from rich.console import Console

    return Console(file=out, highlight=False, width=None if out.isatty() else WIDTH)


def warn(out: "Console", text: str) -> None:
    """Print a warning, if there is one."""
    from rich.text import Text

    if text:
        out.print(Text("  ! ", style="yellow") + Text(text), soft_wrap=True)


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[float], None]]:
    """Show a bar with the time left while the block runs, on a terminal; yields what takes the share done, 0 to 1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("  ● {task.description}"), BarColumn(bar_width=24), TimeRemainingColumn(compact=True))
    console = Console(file=sys.stderr, highlight=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def check_writable(path: Path | None, option: str) -> None:
    """Raise InputError unless a file can be written, before the work that it is to hold is done."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else "is in a folder that does not exist"
        raise InputError(f"{option}: {path} {problem}.", "Name a file in a folder that exists.")
    try:
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be written: {error.strerror}.", "Name another file.") from None
