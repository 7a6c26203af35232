"""How a step ends when nobody waits for it any more; each in a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from reprune.events import VARIABLE, WATCHER, ask_to_stop

STEP = """
    import signal, sys, time
    from reprune.steps.context import _end_with_run
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _end_with_run()
    print("ready", flush=True)
    time.sleep(60)
    """


@pytest.mark.parametrize("how", ["asked", "asked in a container", "watcher gone"])
def test_a_step_gets_sigterm_when_its_run_is_over(tmp_path, monkeypatch, how):
    watcher = subprocess.Popen(["sleep", "60"])
    monkeypatch.setenv(VARIABLE, str(tmp_path / "events.jsonl"))
    environment = os.environ | ({} if how == "asked in a container" else {WATCHER: str(watcher.pid)})
    command = [sys.executable, "-c", textwrap.dedent(STEP)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as step:
        assert step.stdout.readline() == "ready\n"
        step.send_signal(signal.SIGINT)  # a terminal sends Ctrl-C to every process of the run
        if how.startswith("asked"):
            ask_to_stop()
        else:
            watcher.kill()
            watcher.wait()
        assert step.wait(timeout=30) == 143
    watcher.kill()
    watcher.wait()
