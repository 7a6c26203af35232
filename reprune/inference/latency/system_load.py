"""What else the machine was doing while something was measured."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

_STAT = Path("/proc/stat")
NOTICEABLE_CORES = 0.1
NOTICEABLE_STEAL = 0.02


class Load(BaseModel):
    """Background load during a measurement.

    Attributes:
        load_average: Runnable processes over the last minute, this one included; None where the system does not tell.
        other_cores: Cores' worth of time used by other processes; None where the system does not tell.
        steal_ratio: Share of the machine's time that its hypervisor gave to others.
        contended: Whether the others left fewer cores than the measurement had threads.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    load_average: float | None
    other_cores: float | None
    steal_ratio: float | None
    contended: bool

    def text(self) -> str:
        """Return the load in words: ``other processes used 0.4 cores; load average 1.20``."""
        parts = []
        if self.other_cores is not None:
            parts.append(f"other processes used {self.other_cores:.1f} cores")
        if self.load_average is not None:
            parts.append(f"load average {self.load_average:.2f}")
        if self.steal_ratio:
            parts.append(f"{self.steal_ratio:.1%} of the time taken by the hypervisor")
        return "; ".join(parts) or "not told by this system"

    def warning(self) -> str:
        """Return what a contended measurement is worth, with its numbers; empty where it was not contended."""
        if not self.contended:
            return ""
        return (
            f"The machine was busy: {self.text()}. Long calls are interrupted more often than short ones, so "
            "differences look larger than they are; measure again on an idle machine."
        )


class LoadMeter:
    """Measures the load from its creation to `read`; read it in the process that does the work."""

    def __init__(self) -> None:
        self._begin = _snapshot()

    def read(self, threads: int) -> Load:
        """Return the load since the meter was made, for a measurement of so many threads."""
        average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        begin, end = self._begin, _snapshot()
        if begin is None or end is None:
            return Load(load_average=average, other_cores=None, steal_ratio=None, contended=False)
        seconds = max(end.wall - begin.wall, 1e-3)
        others = max((end.busy - begin.busy) - (end.own - begin.own), 0.0) / seconds
        stolen = (end.stolen - begin.stolen) / (seconds * end.cores)
        contended = others + threads > end.cores + NOTICEABLE_CORES or stolen > NOTICEABLE_STEAL
        return Load(load_average=average, other_cores=others, steal_ratio=stolen, contended=contended)


class _Snapshot(NamedTuple):
    """Seconds of the wall clock, of this process, of all processes, and those the hypervisor took; and the cores."""

    wall: float
    own: float
    busy: float
    stolen: float
    cores: int


def _snapshot() -> _Snapshot | None:
    if not _STAT.is_file():
        return None
    lines = _STAT.read_text().splitlines()
    user, nice, system, _idle, _iowait, irq, softirq, stolen = (int(field) for field in lines[0].split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    cores = sum(line.startswith("cpu") for line in lines) - 1
    busy = (user + nice + system + irq + softirq) / tick
    return _Snapshot(time.monotonic(), time.process_time(), busy, stolen / tick, cores)
