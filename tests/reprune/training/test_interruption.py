"""Real processes, really killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reprune.errors import Evicted
from reprune.training.preemption import Interruption
from reprune.training.trainer import Settings
from tests.reprune.training.helpers import TASK, Noisy, assert_same, checkpoints, network, problem, train

EPOCHS = 40


def start(tmp_path):
    program = Path(__file__).with_name("helpers.py")
    command = [sys.executable, str(program), str(tmp_path / "store"), str(EPOCHS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process, epoch):
    for line in process.stdout:
        if int(line) >= epoch:
            return
    pytest.fail(process.stderr.read())


def finish_here(tmp_path):
    model, epochs = network(), []
    train(
        model,
        Settings(epochs=EPOCHS, learning_rate=0.05, seed=7),
        data=Noisy(problem()),
        checkpoints=checkpoints(tmp_path / "store") if (tmp_path / "store").exists() else None,
        on_epoch=lambda epoch: epochs.append(epoch.epoch),
    )
    return model, epochs


def test_a_process_that_is_killed_loses_one_epoch_at_most(tmp_path):
    whole, _ = finish_here(tmp_path)
    with start(tmp_path) as process:
        read_until(process, 5)
        process.kill()
        told = [5] + [int(line) for line in process.stdout]
    assert process.returncode == -signal.SIGKILL
    resumed, epochs = finish_here(tmp_path)
    assert told[-1] < epochs[0] <= told[-1] + 2 and epochs[-1] == EPOCHS
    assert_same(whole, resumed)


def test_sigterm_keeps_the_step_under_way(tmp_path):
    settings = Settings(epochs=3, learning_rate=0.05, seed=7)
    whole, steps = network(), []
    train(whole, settings, data=Noisy(problem()))

    def loss(outputs, targets, _):
        steps.append(len(targets))
        if len(steps) == 9:  # of six an epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return TASK.loss(outputs, targets)

    with pytest.raises(Evicted, match="in epoch 2, after 3 steps; everything up to there is kept") as stopped:
        train(network(), settings, data=Noisy(problem()), loss=loss, checkpoints=checkpoints(tmp_path))
    assert stopped.value.exit_code == 143 and len(steps) == 9
    resumed = network()
    train(resumed, settings, data=Noisy(problem()), loss=loss, checkpoints=checkpoints(tmp_path))
    assert len(steps) == 3 * 6
    assert_same(whole, resumed)


@pytest.mark.slow
def test_sigterm_keeps_the_step_and_exits_with_a_code_that_retries(tmp_path):
    whole, _ = finish_here(tmp_path)
    with start(tmp_path) as process:
        read_until(process, 3)
        process.terminate()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Stopped by SIGTERM" in error and "→ Run the same again" in error
    resumed, epochs = finish_here(tmp_path)
    assert epochs[0] > 3
    assert_same(whole, resumed)


def test_sigterm_is_only_noted_while_it_is_listened_for():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
    assert signal.getsignal(signal.SIGTERM) == before
