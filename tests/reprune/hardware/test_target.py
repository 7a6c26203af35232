import subprocess
import sys
import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from reprune.config.target import Target, machine, usable_cores
from reprune.errors import InputError


def test_the_default_target_is_one_cpu_thread_and_can_be_served_here():
    target = Target().check()
    assert (target.provider, target.threads, target.batch_size) == ("CPUExecutionProvider", 1, 1)
    assert target.label() == "CPU, 1 thread, batch 1"


def test_one_thread_is_timed_by_what_it_ran_itself_and_more_by_the_wall():
    for target, counted in ((Target(), False), (Target(threads=2), True)):
        timer = target.timer()
        start = timer()
        time.sleep(0.05)  # another process's turn
        assert (timer() - start > 0.04) is counted


def test_more_threads_than_cores_names_key_value_and_remedy():
    with pytest.raises(InputError, match=r"target\.threads: 4096") as caught:
        Target(threads=4096).check()
    assert str(usable_cores()) in caught.value.remedy


def test_a_provider_that_is_not_there_names_those_that_are():
    with pytest.raises(InputError, match=r"target\.provider: 'WarpExecutionProvider'") as caught:
        Target(provider="WarpExecutionProvider").check()
    assert "CPUExecutionProvider" in caught.value.remedy


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"batch_size": 0}, {"provider": ""}, {"batch": 4}])
def test_impossible_or_unknown_keys_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Target(**wrong)


def test_importing_the_target_loads_no_runtime():
    probe = "import sys, reprune.config.target; sys.exit(bool({'torch', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe]).returncode == 0


def test_the_key_is_stable_and_tells_machines_runtimes_and_targets_apart():
    here, target = machine(), Target(batch_size=8)
    key = here.key(target)
    assert key == machine().key(Target(batch_size=8))
    others = {
        here.key(Target(batch_size=9)),
        here.key(Target(batch_size=8, threads=2)),
        replace(here, cpu_model="another").key(target),
        replace(here, instruction_sets=()).key(target),
        replace(here, runtime="onnxruntime 0.1").key(target),
        replace(here, system="Plan9 vax").key(target),
    }
    assert len(others | {key}) == 7
    assert replace(here, cores=here.cores + 1).key(target) == key
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
