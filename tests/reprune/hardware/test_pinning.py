import os
import subprocess
import sys

import pytest

from reprune.inference.latency.cpu_affinity import choose


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_is_bound_to_as_many_of_its_cores_as_it_has_threads():
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("there is one core: nothing to choose")
    probe = (
        "import os; from reprune.inference.latency.cpu_affinity import pin;"
        "print({*pin(1)}, os.sched_getaffinity(0), sep='|')"
    )
    told = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    pinned, allowed = told.strip().split("|")
    assert pinned == allowed
    assert pinned in {f"{{{core}}}" for core in os.sched_getaffinity(0)}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_that_uses_every_core_is_left_alone():
    probe = (
        "import os; from reprune.inference.latency.cpu_affinity import pin; print(pin(len(os.sched_getaffinity(0))))"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout == "()\n"


@pytest.mark.parametrize(
    ("busy", "siblings", "threads", "chosen"),
    [
        ([0.9, 0.1], "ab", 1, (1,)),
        ([0.0, 0.0, 0.0, 0.0], "abab", 2, (0, 1)),  # two threads of one physical core share its units
        ([0.0, 0.8, 0.1, 0.1], "aabb", 1, (2,)),  # an idle core beside a busy sibling is half a core
        ([0.0, 0.0, 0.0, 0.0], "aabb", 3, (0, 1, 2)),
    ],
)
def test_the_idlest_cores_are_chosen_and_siblings_last(busy, siblings, threads, chosen):
    assert choose(dict(enumerate(busy)), dict(enumerate(siblings)), threads) == chosen
