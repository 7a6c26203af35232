"""A process bound to cores of its own while it is timed, where the system lets it choose."""

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_TOPOLOGY = Path("/sys/devices/system/cpu")
LOOK_SECONDS = 0.1


def pin(threads: int) -> tuple[int, ...]:
    """Bind this process, and the threads that it starts from now on, to as many cores as it has threads.

    A thread that wanders leaves its caches behind. The cores that are least busy now are taken, and two on one physical
    core only when there is no other.

    Args:
        threads: Threads that the measurement uses.

    Returns:
        The cores; empty where the system has no such call, or as many threads as cores leave nothing to choose.
    """
    if not hasattr(os, "sched_setaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0))
    if threads >= len(allowed):
        return ()
    busy = _busy(allowed)
    chosen = choose(busy, {core: _physical(core) for core in allowed}, threads)
    os.sched_setaffinity(0, chosen)
    return chosen


def choose(busy: dict[int, float], physical: dict[int, str], threads: int) -> tuple[int, ...]:
    """Return the least busy cores, from different physical cores as far as these go.

    Args:
        busy: Share of time that each core works for others.
        physical: Name of the physical core of each.
        threads: How many to choose.
    """
    load = {name: max(share for core, share in busy.items() if physical[core] == name) for name in physical.values()}
    seen: dict[str, int] = {}
    turns = {}
    for core in sorted(busy, key=lambda core: (busy[core], core)):
        turns[core] = seen[physical[core]] = seen.get(physical[core], 0) + 1
    return tuple(sorted(sorted(busy, key=lambda core: (turns[core], load[physical[core]], busy[core], core))[:threads]))


def _busy(cores: list[int]) -> dict[int, float]:
    """Return the share of time that each core has worked during a short look."""
    before = _working()
    time.sleep(LOOK_SECONDS)
    after = _working()
    return {core: (after.get(core, 0.0) - before.get(core, 0.0)) / LOOK_SECONDS for core in cores}


def _working() -> dict[int, float]:
    if not _STAT.is_file():
        return {}
    tick = os.sysconf("SC_CLK_TCK")
    rows = [line.split() for line in _STAT.read_text().splitlines() if line.startswith("cpu")]
    return {int(row[0][3:]): (sum(map(int, row[1:4])) + sum(map(int, row[6:9]))) / tick for row in rows[1:]}


def _physical(core: int) -> str:
    """Return the name of the physical core that a core is a thread of: its siblings."""
    siblings = _TOPOLOGY / f"cpu{core}" / "topology" / "thread_siblings_list"
    return siblings.read_text().strip() if siblings.is_file() else str(core)
