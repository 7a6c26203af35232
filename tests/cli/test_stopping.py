"""Ctrl-C and SIGTERM while a run goes on, in a process of its own."""

import signal
import subprocess
import sys
import textwrap

import pytest

RUN = """
    import os, sys, time
    from types import SimpleNamespace

    from rich.console import Console

    from reprune.cli import signals
    from reprune.cli.run import execute

    def pipeline(scratch):
        try:
            print("under way", flush=True)
            time.sleep(60)
        except BaseException:  # as Python itself does where it calls back from C
            print("lost", flush=True)
        if sys.argv[1] == "twice":
            time.sleep(60)  # for a step that takes its time

    signals.listen()
    execute(Console(), SimpleNamespace(name="stopped"), "store", pipeline)
    """


@pytest.mark.parametrize("times", ["once", "twice"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_even_where_what_it_raises_is_lost(tmp_path, number, times):
    command = [sys.executable, "-c", textwrap.dedent(RUN), times]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert "stopped → store" in running.stdout.readline() and running.stdout.readline() == "under way\n"
        running.send_signal(number)
        assert running.stdout.readline() == "lost\n"
        if times == "twice":
            running.send_signal(number)
        out = running.stdout.read()
    assert running.returncode == 128 + number
    assert "the same command goes on from there" in " ".join(out.split())


def test_what_was_to_be_ignored_from_the_start_still_is():
    text = "import os, signal; from reprune.cli import signals; signals.listen(); os.kill(os.getpid(), signal.SIGINT)"
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {text}; print('went on')"
    done = subprocess.run([sys.executable, "-c", ignoring], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "went on\n"
