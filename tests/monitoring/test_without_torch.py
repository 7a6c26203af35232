"""The monitor's image has no torch: all of its work is done in a process that cannot import it."""

import os
import subprocess
import sys

import pytest

from reprune.storage.uri import open_store
from tests.monitoring import production

BARRIER = """
import sys

ABSENT = ("torch", "kfp", "kubernetes", "pandas", "sklearn", "matplotlib", "onnxscript", "sympy")

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""Read by every Python that starts, the process that judges windows too."""

WORK = """
import sys
import reprune.monitoring.kubeflow, reprune.monitoring.service
from reprune.config import loading
from reprune.monitoring import status
from reprune.monitoring.launchers import DryRun
from reprune.monitoring.monitor import Monitor
from reprune.storage.uri import open_store
from reprune.drift.monitor.metrics import registry_of

raw = {"name": "signals", "model": "nowhere:build", "data": "nowhere:load"} | eval(sys.argv[2])
watched = loading.parse(raw, origin="a test")
monitor = Monitor(watched, open_store(sys.argv[1]), DryRun())
monitor.look()
registry_of(watched, monitor.snapshot())
status.render(watched, monitor.snapshot(), monitor.problem, dry_run=True)
for window in monitor.snapshot().state.windows.values():
    print(window.verdict, window.summary)
print([launch.source for launch in monitor.snapshot().state.launches])
"""


@pytest.fixture
def work(tmp_path):
    production.promote(open_store(tmp_path / "store"), tmp_path / "champion")
    (tmp_path / "barrier").mkdir()
    (tmp_path / "barrier" / "sitecustomize.py").write_text(BARRIER)

    def run(**changes):
        command = [sys.executable, "-c", WORK, str(tmp_path / "store"), repr(changes)]
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "barrier")}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


def test_windows_are_judged_and_a_re_prune_is_asked_for(work, tmp_path):
    store = open_store(tmp_path / "store")
    production.log_window(store, "1-calm", seed=10)
    production.log_window(store, "2-moved", seed=11, shift=2.0)
    production.log_window(store, "3-moved", seed=12, shift=2.0)
    done = work(monitor={"confirm": 2})
    assert done.returncode == 0, done.stderr
    verdicts = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert verdicts == ["no drift no drift", "drift drift", "drift drift", "['drift']"], done.stdout


def test_a_task_of_one_s_own_is_refused_at_the_start(work):
    done = work(task="mine:Task")
    assert done.returncode and "InputError: task: 'mine:Task' is a task of your own, which needs torch" in done.stderr


def test_a_command_that_needs_what_is_left_out_says_so():
    code = (
        "import runpy, sys; sys.modules['kfp'] = None; sys.argv = ['reprune', 'run', 'digits'];"
        "runpy.run_module('reprune', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "This needs kfp, which is not installed here" in done.stderr
    assert "reprune-train" in done.stderr and "Traceback" not in done.stderr
