"""SIGTERM, as a machine that is to be taken away sends it: noted at once, acted on where nothing is half done."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from reprune.errors import Evicted

__all__ = ["Evicted", "Interruption"]


class Interruption:
    """While entered, SIGTERM only sets `requested`. Threads other than the main one cannot listen, and never see it."""

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
