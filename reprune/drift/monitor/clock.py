"""A clock for cooldowns that a jump of the wall clock cannot shorten while the program runs, nor stop for ever."""

import threading
import time
from collections.abc import Callable

JUMP_SECONDS = 60.0
"""A difference between wall clock and monotonic clock from here on is a jump, not drift of a crystal."""


class SteadyClock:
    """Seconds of watching that never go back and outlive the process.

    While the process runs they follow the monotonic clock. From one process to the next the wall clock is all there is:
    the time between is what it says, and zero where it says less than nothing. So a wall clock that jumps while the
    program runs changes nothing, one that was set back in between makes a cooldown last longer by what it ran before,
    and one that was set forward in between cannot be told from a long stop.

    Args:
        steady: Seconds when the last process noted them.
        wall: The wall clock at that time, seconds since 1970; None where there was none.
        walls: The wall clock.
        monotonics: The monotonic clock.
    """

    def __init__(
        self,
        steady: float = 0.0,
        wall: float | None = None,
        *,
        walls: Callable[[], float] = time.time,
        monotonics: Callable[[], float] = time.monotonic,
    ) -> None:
        self._walls, self._monotonics = walls, monotonics
        self._wall, self._monotonic = walls(), monotonics()
        self._steady = steady + (max(0.0, self._wall - wall) if wall is not None else 0.0)
        self.jumps = 0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the seconds of watching, and notice whether the wall clock has jumped since the last call."""
        with self._lock:
            wall, monotonic = self._walls(), self._monotonics()
            passed = monotonic - self._monotonic
            if abs(wall - self._wall - passed) >= JUMP_SECONDS:
                self.jumps += 1
            self._steady += passed
            self._wall, self._monotonic = wall, monotonic
            return self._steady

    def wall(self) -> float:
        """Return the wall clock, seconds since 1970."""
        return self._walls()
