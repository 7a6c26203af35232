import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from reprune.errors import InputError, StepError
from reprune.training.trainer import Settings
from tests.reprune.training.helpers import Noisy, assert_same, checkpoints, network, problem, train

SETTINGS = Settings(epochs=3, learning_rate=0.05, seed=7)


class Killed(BaseException):
    """Stands for a process that ends in the middle of everything."""


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("killed_after", [1, 4])
def test_a_training_cut_short_and_taken_up_ends_in_the_same_weights(tmp_path, optimizer, killed_after):
    settings = replace(SETTINGS, epochs=5, optimizer=optimizer)
    whole = network()
    expected = train(whole, settings, data=Noisy(problem()))

    def kill(epoch):
        if epoch.epoch == killed_after:
            raise Killed

    with pytest.raises(Killed):
        train(network(), settings, data=Noisy(problem()), checkpoints=checkpoints(tmp_path), on_epoch=kill)
    torch.manual_seed(99)  # whatever state the new process is in
    resumed, epochs = network(), []
    history = train(
        resumed,
        settings,
        data=Noisy(problem()),
        checkpoints=checkpoints(tmp_path),
        on_epoch=lambda epoch: epochs.append(epoch.epoch),
    )

    assert epochs == list(range(killed_after + 1, 6))
    assert [e.loss for e in history.epochs] == [e.loss for e in expected.epochs]
    assert_same(whole, resumed)


def test_data_that_is_loaded_late_and_draws_then_changes_nothing(tmp_path):
    def batches():
        loaded = []

        def shuffled(seed):
            if not loaded:
                torch.rand(3)
                loaded.append(Noisy(problem()))
            return DataLoader(loaded[0], 16, shuffle=True, generator=torch.Generator().manual_seed(seed))

        return shuffled

    def kill(epoch):
        raise Killed

    whole, resumed = network(), network()
    train(whole, SETTINGS, batches=batches())
    with pytest.raises(Killed):
        train(network(), SETTINGS, batches=batches(), checkpoints=checkpoints(tmp_path), on_epoch=kill)
    train(resumed, SETTINGS, batches=batches(), checkpoints=checkpoints(tmp_path))
    assert_same(whole, resumed)


def test_an_epoch_under_way_is_kept_when_it_takes_long(tmp_path, monkeypatch):
    whole = network()
    train(whole, SETTINGS, data=Noisy(problem()))
    monkeypatch.setattr("reprune.training.loop.CHECKPOINT_SECONDS", -1)
    steps = 0

    def dying(outputs, targets, _):
        nonlocal steps
        steps += 1
        if steps == 10:  # of six an epoch
            raise Killed
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    with pytest.raises(Killed):
        train(network(), SETTINGS, data=Noisy(problem()), checkpoints=checkpoints(tmp_path), loss=dying)
    taken_up = []

    def counting(outputs, targets, _):
        taken_up.append(len(targets))
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    resumed = network()
    train(resumed, SETTINGS, data=Noisy(problem()), checkpoints=checkpoints(tmp_path), loss=counting)
    assert len(taken_up) == 3 * 6 - 9
    assert_same(whole, resumed)


def test_a_finished_training_is_not_done_again(tmp_path):
    first = network()
    train(first, SETTINGS, checkpoints=checkpoints(tmp_path))
    second = network()
    train(second, SETTINGS, checkpoints=checkpoints(tmp_path), on_epoch=lambda epoch: pytest.fail("trained again"))
    assert_same(first, second)


def test_training_learns():
    history = train(network(), Settings(epochs=15, learning_rate=0.01))
    assert history.epochs[-1].loss < history.epochs[0].loss / 1.5
    assert history.epochs[-1].validation_score > 0.9


def test_a_learning_rate_that_diverges_is_lowered_and_told(tmp_path):
    inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    told = []
    history = train(
        nn.Linear(5, 1),
        Settings(epochs=12, learning_rate=10.0, optimizer="sgd", clip_norm=None),  # above 2 / curvature
        data=TensorDataset(inputs, 3 * inputs[:, 0]),
        loss=lambda outputs, targets, _: (outputs.squeeze(1) - targets).square(),
        checkpoints=checkpoints(tmp_path),
        on_incident=told.append,
    )
    assert told and told == history.incidents
    assert told[0].kind == "diverged" and "back to the start with a peak rate of 2.5" in told[0].text
    assert len(history.epochs) == 12 and history.epochs[-1].loss < 1


def test_a_training_that_always_diverges_ends_with_a_remedy(tmp_path):
    told = []
    with pytest.raises(StepError, match=r"in epoch 1, at a learning rate of .*, after going back 3 times") as caught:
        train(
            network(),
            SETTINGS,
            loss=lambda outputs, targets, _: outputs.sum(dim=1) * math.nan,
            on_incident=told.append,
        )
    assert "Lower `train.learning_rate`" in caught.value.remedy
    assert len(told) == 3


def test_a_model_that_is_not_finite_from_the_start_is_told_at_once():
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    with pytest.raises(StepError, match="became nan in epoch 1"):
        train(model, SETTINGS, on_incident=lambda it: pytest.fail("nothing to go back to"))


def test_inputs_that_are_not_finite_are_named_in_place_of_the_learning_rate():
    data = problem()
    data.tensors[0][7] = math.inf
    with pytest.raises(InputError, match=r"batch \d of epoch 1 has inputs that are not finite"):
        train(network(), SETTINGS, data=data)


@pytest.mark.parametrize(("examples", "batch_size"), [(17, 16), (1, 16), (5, 16), (3, 1)])
def test_few_examples_are_enough(examples, batch_size):
    model = network()
    before = model[0].weight.clone()
    history = train(model, SETTINGS, data=problem(examples), batch_size=batch_size)
    assert all(math.isfinite(epoch.loss) for epoch in history.epochs)
    assert not torch.equal(model[0].weight, before)


def test_an_empty_batch_is_passed_over():
    data = problem()
    pieces = [(data.tensors[0][part], data.tensors[1][part]) for part in (slice(0, 16), slice(0, 0), slice(16, 32))]
    history = train(network(), SETTINGS, batches=lambda seed: pieces)
    assert len(history.epochs) == 3


def test_an_iterable_of_unknown_length_is_trained_on():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(torch.ones(5) * n, n % 2) for n in range(40)])

    assert len(train(network(), SETTINGS, batches=lambda seed: DataLoader(Stream(), 16)).epochs) == 3


def test_an_iterable_that_is_used_up_is_an_error():
    data = problem()
    once = iter([(data.tensors[0], data.tensors[1])])
    with pytest.raises(InputError, match="no examples in epoch 2"):
        train(network(), SETTINGS, batches=lambda seed: once)


def test_an_average_of_the_weights_is_kept_and_resumed(tmp_path):
    settings = replace(SETTINGS, epochs=4, ema=0.9)
    plain, averaged = network(), network()
    train(plain, replace(settings, ema=None))
    train(averaged, settings)
    assert not torch.equal(plain[0].weight, averaged[0].weight)
    assert torch.allclose(plain[0].weight, averaged[0].weight, atol=0.2)

    def kill(epoch):
        if epoch.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        train(network(), settings, checkpoints=checkpoints(tmp_path), on_epoch=kill)
    resumed = network()
    train(resumed, settings, checkpoints=checkpoints(tmp_path))
    assert_same(averaged, resumed)


def test_bfloat16_trains_float32_weights():
    model = network()
    history = train(model, Settings(epochs=15, learning_rate=0.01, precision="bfloat16"))
    assert model[0].weight.dtype == torch.float32
    assert history.epochs[-1].loss < history.epochs[0].loss
