"""Two real processes over gloo, against one."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest
import torch
from torch.utils.data import BatchSampler, SequentialSampler

from reprune.config import entry_points
from reprune.config.loading import parse
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.errors import InputError, StepError
from reprune.pruning import bundle
from reprune.training.job import Job
from reprune.training.launcher import learn_together
from reprune.training.sharding import Slices, shares
from reprune.training.trainer import Settings
from reprune.training.workload_training import learn
from tests.reprune.training.helpers import checkpoints

CODE = """
    import os
    import torch
    from torch import nn
    from torch.utils.data import TensorDataset

    def data(split):
        seed = {"train": 1, "validation": 2, "test": 3}[split]
        inputs = torch.randn(66, 5, generator=torch.Generator().manual_seed(seed))
        return TensorDataset(inputs, (inputs.sum(dim=1) > 0).long())

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Linear(16, 2)
            self.idle = nn.Linear(3, 3)  # never used

        def forward(self, x):
            most = int(os.environ.get("MOST", "1000"))
            if self.training and len(x) > most:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return self.last(self.norm(self.first(x)).relu())

    class Plain(Net):
        def forward(self, x):
            return self.last(self.first(x).relu())

    class Broken(Net):
        def forward(self, x):
            raise ValueError("the ninth gear is missing")
"""
SETTINGS = Settings(epochs=3, learning_rate=0.05, optimizer="sgd", seed=7)


@pytest.fixture
def work(tmp_path):
    (tmp_path / "shared_net.py").write_text(textwrap.dedent(CODE))
    entry_points.use_code(str(tmp_path))
    sys.modules.pop("shared_net", None)
    return parse(
        {
            "name": "shared",
            "model": "shared_net:Net",
            "data": "shared_net:data",
            "code": str(tmp_path),
            "train": {"batch_size": 16, "processes": 2},
        },
        origin="test",
    )


def build(work):
    torch.manual_seed(3)
    return bundle.build(work.model, key="model")


def alone(work, settings, **options):
    model, data = build(work), Data(work)
    return model, learn(work, data, tasks.of(work, data), model, settings, **options)


def together(work, settings, *, teacher=None, place=None, model=None, **options):
    model = model or build(work)
    job = Job(workload=work.model_dump(mode="json"), settings=settings, checkpoints=place, name="fit")
    return model, learn_together(2, job, work.model, model, teacher, **options)


def assert_close(first, second):
    for name, tensor in first.state_dict().items():
        assert torch.allclose(tensor, second.state_dict()[name], atol=1e-5), name


def test_two_processes_end_where_one_does(work, tmp_path):
    """With batch normalization, parameters that are never used, a teacher, and one example each in the last batch."""
    settings, told = replace(SETTINGS, ema=0.5), []
    torch.manual_seed(9)
    teacher = bundle.build(work.model, key="model")
    expected, history = alone(work, settings, teacher=teacher)
    place = checkpoints(tmp_path / "store").place
    model, found = together(work, settings, teacher=teacher, place=place, on_epoch=told.append)
    assert told == found.epochs and len(told) == 3
    for a, b in zip(found.epochs, history.epochs, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-4) and a.validation_score == pytest.approx(b.validation_score)
    assert_close(model, expected)
    # What was begun by two is taken up by one: here it is over, and nothing is left to do
    model, found = alone(work, settings, teacher=teacher, checkpoints=checkpoints(tmp_path / "store"))
    assert found.epochs == told
    assert_close(model, expected)


@pytest.mark.slow
def test_gradients_in_pieces_are_those_of_the_batch(work):
    work = work.replace(model="shared_net:Plain")
    expected, _ = alone(work, SETTINGS)
    model, _ = together(work, replace(SETTINGS, micro_batch=3))
    assert_close(model, expected)


@pytest.mark.slow
def test_when_memory_runs_out_in_one_process_all_begin_anew_in_halves(work, monkeypatch, tmp_path):
    monkeypatch.setenv("MOST", "5")  # of eight a process
    told, place = [], checkpoints(tmp_path / "store").place
    model, history = together(work, SETTINGS, place=place, on_incident=told.append)
    assert len(history.epochs) == 3
    assert [it.kind for it in history.incidents] == ["out-of-memory"] == [it.kind for it in told]
    assert "4 at a time" in told[0].text


@pytest.mark.slow
def test_an_error_in_a_process_is_told_as_one_of_this(work):
    with pytest.raises(StepError, match="the ninth gear is missing"):
        together(work.replace(model="shared_net:Broken"), SETTINGS)
    data = work.replace(splits={"train": "shared_net:nothing"})
    with pytest.raises(InputError, match="has no 'nothing'"):
        together(data, SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_that_are_stopped_are_taken_up_by_another_number(work, tmp_path, number):
    settings = replace(SETTINGS, epochs=100)
    _, expected = alone(work, settings)
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import json, sys, torch
            from reprune.config import entry_points
            from reprune.pruning import bundle
            from reprune.errors import RepruneError
            from reprune.training.job import Job
            from reprune.training.launcher import learn_together

            job = Job.model_validate_json(open(sys.argv[1]).read())
            entry_points.use_code(job.workload["code"])
            torch.manual_seed(3)
            model = bundle.build(job.workload["model"], key="model")
            try:
                tell = lambda epoch: print(epoch.epoch, flush=True)
                learn_together(2, job, job.workload["model"], model, None, on_epoch=tell)
            except RepruneError as error:
                sys.exit(error.exit_code)
            """
        )
    )
    kept = checkpoints(tmp_path / "store")
    job = Job(workload=work.model_dump(mode="json"), settings=settings, checkpoints=kept.place, name="fit")
    (tmp_path / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, str(program), str(tmp_path / "job.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = int(process.stdout.readline())
        process.send_signal(number)
        told = max([told, *(int(line) for line in process.stdout)])
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert told < 100
    time.sleep(3)  # workers notice that their launcher is gone
    epochs = []
    _, found = alone(work, settings, checkpoints=kept, on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert told < epochs[0] and epochs[-1] == 100
    assert len(found.epochs) == len(expected.epochs)
    assert told < 30
    for a, b in zip(found.epochs[:30], expected.epochs[:30], strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-3)  # later, rounding has grown to a tenth, without a stop too


@pytest.mark.parametrize("examples", [1, 2, 3, 16, 17, 33, 48])
def test_shares_cover_every_example_once_and_none_is_idle(examples):
    batches = list(BatchSampler(SequentialSampler(range(examples)), 16, drop_last=False))
    parts = [shares(batches, rank, 2) for rank in range(2)]
    assert len(parts[0]) == len(parts[1])
    assert all(share for part in parts for share in part)
    covered = sorted({index for part in parts for share in part for index in share})
    assert covered == list(range(examples))
    if examples > 1:
        assert sum(len(share) for part in parts for share in part) == examples


def test_slices_cover_batches_that_have_no_indices():
    batches = [({"ids": torch.arange(5)}, torch.arange(5)), ({"ids": torch.arange(4)}, torch.arange(4))]
    parts = [list(Slices(batches, rank, 2)) for rank in range(2)]
    assert [len(y) for _, y in parts[0]] == [3, 2] and [len(y) for _, y in parts[1]] == [2, 2]
    assert torch.equal(parts[1][0][0]["ids"], torch.tensor([1, 3]))
