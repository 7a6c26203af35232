"""The terminal, or whatever stands in its place."""

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 118
"""Columns of the output where it does not go to a terminal."""


def console(out: TextIO) -> "Console":
    """Return a console bound to a stream now, since kfp's own prints are sent to the log later."""
    from rich.console import Console

    return Console(file=out, highlight=False, width=None if out.isatty() else WIDTH)
