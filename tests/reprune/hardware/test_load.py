import subprocess
import sys
import time
from pathlib import Path

import pytest

from reprune.inference.latency import system_load
from reprune.inference.latency.system_load import Load, LoadMeter

LINUX = Path("/proc/stat").is_file()


@pytest.mark.skipif(not LINUX, reason="needs /proc/stat, which only Linux has")
def test_what_others_compute_is_seen_and_what_this_process_computes_is_not_counted():
    meter = LoadMeter()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            pass
        seen = meter.read(threads=1)
        busy.kill()
    assert seen.other_cores > 0.2
    assert 0 <= seen.steal_ratio <= 1
    assert seen.load_average >= 0


@pytest.mark.parametrize(
    ("others", "stolen", "threads", "contended"),
    [(0.5, 0.0, 1, False), (1.5, 0.0, 1, True), (0.5, 0.0, 2, True), (0.0, 0.5, 1, True)],
)
def test_a_measurement_is_contended_when_others_leave_too_few_cores(monkeypatch, others, stolen, threads, contended):
    shots = iter(
        [
            system_load._Snapshot(wall=0, own=0, busy=0, stolen=0, cores=2),
            system_load._Snapshot(wall=10, own=10, busy=10 + 10 * others, stolen=10 * stolen, cores=2),
        ]
    )
    monkeypatch.setattr(system_load, "_snapshot", lambda: next(shots))
    seen = LoadMeter().read(threads)
    assert seen.contended is contended
    assert seen.other_cores == pytest.approx(others)
    assert seen.steal_ratio == pytest.approx(stolen / 2)


def test_a_system_that_tells_nothing_is_not_accused(monkeypatch, tmp_path):
    monkeypatch.setattr(system_load, "_STAT", tmp_path / "absent")
    seen = LoadMeter().read(1)
    assert (seen.other_cores, seen.steal_ratio, seen.contended) == (None, None, False)
    assert Load.model_validate_json(seen.model_dump_json()) == seen


def test_a_contended_measurement_is_warned_of_with_its_numbers():
    busy = Load(load_average=11.3, other_cores=1.84, steal_ratio=0.05, contended=True)
    for number in ("1.8 cores", "11.30", "5.0%"):
        assert number in busy.warning()
    assert busy.model_copy(update={"contended": False}).warning() == ""
    assert Load(load_average=None, other_cores=None, steal_ratio=None, contended=False).text() == (
        "not told by this system"
    )
