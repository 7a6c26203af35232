import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from reprune.errors import StepError
from reprune.store import open_store
from reprune.tasks import Classification
from reprune.training.checkpoint import Checkpoints
from reprune.training.fit import Settings, fit

TASK = Classification()


def problem(examples=96):
    inputs = torch.randn(examples, 5, generator=torch.Generator().manual_seed(1))
    return TensorDataset(inputs, (inputs.sum(dim=1) > 0).long())


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))


def train(model, settings, *, data=None, checkpoints=None, on_epoch=None, batch_size=16):
    data = data or problem()
    return fit(
        model,
        lambda seed: DataLoader(data, batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed)),
        lambda outputs, targets, _: TASK.loss(outputs, targets),
        settings,
        validate=lambda trained: float(TASK.score(trained.eval()(data.tensors[0]), data.tensors[1]).mean()),
        checkpoints=checkpoints,
        on_epoch=on_epoch,
    )


class Killed(BaseException):
    """Stands for a process that ends in the middle of everything."""


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_a_training_cut_short_and_taken_up_ends_in_the_same_weights(tmp_path, monkeypatch, optimizer, killed_after):
    monkeypatch.setattr("reprune.training.fit.CHECKPOINT_SECONDS", -1)
    settings = Settings(epochs=5, learning_rate=0.05, optimizer=optimizer, seed=7)
    whole = network()
    expected = train(whole, settings)

    def kill(epoch):
        if epoch.epoch == killed_after:
            raise Killed

    checkpoints = Checkpoints(open_store(str(tmp_path)), "test", "a" * 16)
    with pytest.raises(Killed):
        train(network(), settings, checkpoints=checkpoints, on_epoch=kill)
    torch.manual_seed(99)  # whatever state the new process is in
    resumed, epochs = network(), []
    history = train(resumed, settings, checkpoints=checkpoints, on_epoch=lambda epoch: epochs.append(epoch.epoch))

    assert epochs == list(range(killed_after + 1, 6))
    assert [e.loss for e in history.epochs] == [e.loss for e in expected.epochs]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_finished_training_is_not_done_again(tmp_path):
    checkpoints = Checkpoints(open_store(str(tmp_path)), "test", "b" * 16)
    settings = Settings(epochs=2, learning_rate=0.05)
    first = network()
    train(first, settings, checkpoints=checkpoints)
    second = network()
    train(second, settings, checkpoints=checkpoints, on_epoch=lambda epoch: pytest.fail("trained again"))
    assert torch.equal(first[0].weight, second[0].weight)


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    store = open_store(str(tmp_path))
    checkpoints = Checkpoints(store, "test", "c" * 16)
    settings = Settings(epochs=2, learning_rate=0.05)
    first = network()
    train(first, settings, checkpoints=checkpoints)
    key = next(iter(store.list("checkpoints/")))
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))
    again, epochs = network(), []
    train(again, settings, checkpoints=checkpoints, on_epoch=epochs.append)
    assert len(epochs) == 2
    assert torch.equal(first[0].weight, again[0].weight)


def test_a_loss_that_is_no_number_ends_the_training_with_a_remedy():
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    with pytest.raises(StepError, match="became nan in epoch 1") as caught:
        train(model, Settings(epochs=2, learning_rate=0.05))
    assert "Lower `train.learning_rate`" in caught.value.remedy


def test_a_last_batch_of_one_example_is_no_crash():
    train(network(), Settings(epochs=1, learning_rate=0.05), data=problem(17), batch_size=16)


def test_training_learns():
    history = train(network(), Settings(epochs=30, learning_rate=0.01))
    assert history.epochs[-1].loss < history.epochs[0].loss / 1.5
    assert history.epochs[-1].validation_score > 0.9
