"""Ctrl-C and SIGTERM: the first asks what runs to keep what it has and end; the second does not wait for it."""

import signal
import sys
from typing import Any, NoReturn

from reprune.events import ask_to_stop

_noted: list[int] = []


def listen() -> None:
    """Listen for both, but for one that was to be ignored from the start (a shell's job in the background)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def check() -> None:
    """End here if a signal came that should have ended the process before.

    What a signal raises is lost where Python calls back from C: in the import system, say, and in ``__del__``.
    """
    if _noted:
        sys.exit(128 + _noted[0])


def _stop(number: int, *_: Any) -> NoReturn:
    _noted.append(number)
    ask_to_stop()  # kfp waits for the step under way
    sys.exit(128 + number)
