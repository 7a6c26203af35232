"""Timing loops: several calls interleaved in random order, each warmed up until it has settled."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

Call = Callable[[], object]
Clock = Callable[[], float]

BURST_SECONDS = 0.002
"""A model's share of one round: long against a clock tick, short against a change of the machine's load."""

MOST_CALLS = 50
SETTLED = 0.98
"""A window of calls must be this much shorter than the best before it to count as still warming up."""


@dataclass
class Samples:
    """Durations of one model's calls, with the round each was made in.

    Attributes:
        seconds: Duration of each recorded call.
        rounds: Number of the round of each call, counted over all sessions.
        warm_up_calls: Calls made before the durations had settled; none of them is recorded.
    """

    seconds: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    warm_up_calls: int = 0

    def round_medians(self) -> np.ndarray:
        """Return the median duration of each round, in order, ``[rounds]``."""
        rounds = np.asarray(self.rounds)
        starts = np.flatnonzero(np.diff(rounds, prepend=rounds[0] - 1))
        return np.array([np.median(part) for part in np.split(np.asarray(self.seconds), starts[1:])])


def warm_up(
    call: Call, *, limit_seconds: float, clock: Clock = time.perf_counter, timer: Clock | None = None
) -> tuple[int, float]:
    """Call until the durations no longer fall: caches, allocator and branch predictors have settled.

    Windows of calls are compared by their medians; two windows in a row that are no shorter than the best so far end
    the warm-up.

    Args:
        call: What is to be timed.
        limit_seconds: End after this time in any case; the call that runs is finished.
        clock: Seconds, monotonic.
        timer: What durations are read from; the clock by default.

    Returns:
        The number of calls made, and the duration of one, in seconds (median of the last window).
    """
    begin, timer = clock(), timer or clock
    calls, best, stable = 0, float("inf"), 0
    while True:
        window: list[float] = []
        opened = clock()
        while len(window) < MOST_CALLS and (not window or clock() - opened < BURST_SECONDS):
            start = timer()
            call()
            window.append(timer() - start)
        calls += len(window)
        median = float(np.median(window))
        stable = 0 if median < SETTLED * best else stable + 1
        best = min(best, median)
        if stable >= 2 or clock() - begin >= limit_seconds:
            return calls, median


def interleave(
    calls: Mapping[str, Call],
    samples: Mapping[str, Samples],
    *,
    seconds: float,
    rng: random.Random,
    least_rounds: int = 5,
    clock: Clock = time.perf_counter,
    timer: Clock | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> int:
    """Time calls against each other: in each round every one gets a short burst, in random order.

    A slow change of the machine (clock rate, a neighbour) then meets all of them alike, and the ratio of two within a
    round is free of it. The first call of a burst, which finds the caches full of the one before, is not recorded where
    it costs little.

    Args:
        calls: What to time, by name.
        samples: Where each one's durations are added; ``warm_up_calls`` is raised too.
        seconds: Time for warm-up and rounds together.
        rng: Source of the order.
        least_rounds: Rounds to make even when time is over.
        clock: Seconds, monotonic.
        timer: What durations are read from; the clock by default.
        tick: Called after each round with the share of time used, 0 to 1.

    Returns:
        The number of rounds made.
    """
    begin, timer = clock(), timer or clock
    bursts = {}
    for name in rng.sample(list(calls), len(calls)):
        warmed, duration = warm_up(calls[name], limit_seconds=0.3 * seconds / len(calls), clock=clock, timer=timer)
        samples[name].warm_up_calls += warmed
        bursts[name] = int(min(max(BURST_SECONDS / max(duration, 1e-9), 1), MOST_CALLS))
    first = max((max(it.rounds, default=-1) for it in samples.values()), default=-1) + 1
    made = 0
    while made < least_rounds or clock() - begin < seconds:
        for name in rng.sample(list(calls), len(calls)):
            call, record = calls[name], samples[name]
            if bursts[name] > 1:
                call()
            for _ in range(bursts[name]):
                start = timer()
                call()
                record.seconds.append(timer() - start)
                record.rounds.append(first + made)
        made += 1
        tick(min((clock() - begin) / seconds, 1.0))
    return made
