"""Whether the monitor gets on: health is progress, not a thread that exists."""

import time
from collections.abc import Callable

GRACE_SECONDS = 300.0
"""Time for what takes no share of a window's limit: fetching a champion, asking the store, starting a process."""


class Progress:
    """When the monitor last got on, by the monotonic clock.

    Args:
        monotonics: The clock.
    """

    def __init__(self, monotonics: Callable[[], float] = time.monotonic) -> None:
        self._monotonics = monotonics
        self.limit_seconds = float("inf")
        self._latest = (monotonics(), "starting")

    def expect(self, interval: float, window_seconds: float) -> None:
        """Set the limit from the time between looks and the time that one window may take.

        A window may be judged twice, the second time in a process of its own
        (`reprune.drift.monitor.confined_process`).
        """
        self.limit_seconds = interval + 2 * window_seconds + GRACE_SECONDS

    def mark(self, doing: str) -> None:
        """Note that the monitor got on, and what it does now."""
        self._latest = (self._monotonics(), doing)

    @property
    def age_seconds(self) -> float:
        """Seconds since it last got on."""
        return self._monotonics() - self._latest[0]

    @property
    def stalled(self) -> str:
        """In words, what it has been at for longer than the limit; empty while it gets on."""
        age, doing = self.age_seconds, self._latest[1]
        if age <= self.limit_seconds:
            return ""
        return f"no progress for {age:.0f} s, at most {self.limit_seconds:.0f} s are expected: {doing}"
