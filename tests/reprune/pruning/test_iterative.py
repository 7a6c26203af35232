"""Rounds of cutting and recovering: where they end, what is chosen, and that a kill changes nothing."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from reprune.data.tasks import Classification
from reprune.errors import InputError
from reprune.pruning.iterative.cost import Cost, macs_of
from reprune.pruning.iterative.pruner import Limits, Loop, Parts
from reprune.pruning.iterative.pruner_state import Progress
from reprune.pruning.iterative.rounds import Judgement, Measured
from reprune.pruning.iterative.schedules import Fixed, Following
from reprune.pruning.surgery import replay
from reprune.storage.checkpoints import Checkpoints
from reprune.storage.uri import open_store
from reprune.training.trainer import Settings, fit

TASK = Classification()
GOAL = {"0": 16, "2": 16}


def examples(count=200, seed=1):
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def batches(seed):
    return DataLoader(examples(), 32, shuffle=True, generator=torch.Generator().manual_seed(seed))


def judge(model):
    data = examples(300, seed=2)
    with torch.no_grad():
        outputs = model.eval()(data.tensors[0])
    loss = F.cross_entropy(outputs, data.tensors[1])
    return Judgement(float(loss), TASK.score(outputs, data.tensors[1]).double().numpy())


def fitted(model, epochs, *, checkpoints=None, name="fit", seed=0, on_epoch=None):
    fit(
        model,
        batches,
        lambda outputs, targets, _: TASK.loss(outputs, targets),
        Settings(epochs=epochs, learning_rate=0.01, seed=seed),
        validate=lambda trained: judge(trained).score,
        checkpoints=checkpoints,
        name=name,
        on_epoch=on_epoch,
    )


@pytest.fixture(scope="module")
def dense():
    model = network()
    fitted(model, 25)
    return model


def loop(*, pace, allowed=0.3, epochs=2, drop=0.2, most=2.0, checkpoints=None, told=None, recover=None):
    """A loop whose latency is the share of the multiply-accumulates that is left."""
    x = examples().tensors[0][:4]
    dense_macs = macs_of(network(), x)

    def measure(model):
        ratio = macs_of(model, x) / dense_macs
        return Measured(ratio, 4 * sum(p.numel() for p in model.parameters()), ratio / allowed)

    def train(model, number, again, epochs):
        name = f"round-{number}{'-again' * again}"
        tell = told and (lambda epoch: told(name, epoch.epoch))
        fitted(model, epochs, checkpoints=checkpoints, name=name, seed=number, on_epoch=tell)

    parts = Parts(
        example_inputs=x,
        criterion="taylor",
        saliency_batches=list(batches(0)),
        loss=F.cross_entropy,
        recover=recover or train,
        judge=judge,
        measure=measure,
        clock=lambda: 0.0,
    )
    limits = Limits(epochs=epochs, drop=drop, cost=Cost(dense_macs, 25, taught=False), most=most)
    return Loop(parts, limits, pace)


def test_the_rounds_end_when_the_measured_budget_holds(dense):
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    told = []
    outcome = loop(pace=Fixed("constant", 6, 2), allowed=0.4).run(
        dense, judge(dense), GOAL, progress=Progress(), on_round=lambda done, ahead: told.append((done.round, ahead))
    )
    assert outcome.chosen is outcome.rounds[-1]
    assert outcome.chosen.latency_ratio <= 0.4 < outcome.rounds[-2].latency_ratio
    assert outcome.chosen.progress < 1, "it went on although the budget held"
    assert "satisfies everything" in outcome.reason and "budget holds" in outcome.reason
    assert [number for number, _ in told] == list(range(1, len(told) + 1)) and told[-1][1] == 0
    assert outcome.model[0].out_features == outcome.chosen.widths["0"]
    assert replay(dense, outcome.recipe)[2].weight.shape == outcome.model[2].weight.shape
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())


def test_recovery_is_seen_in_loss_and_score(dense):
    outcome = loop(pace=Fixed("one-shot", 2, 4), epochs=4, drop=1.0).run(
        dense, judge(dense), {"0": 6, "2": 6}, progress=Progress()
    )
    (done,) = outcome.rounds
    assert done.epochs == 8 and done.loss_after < done.loss_before


def test_a_round_that_cannot_recover_is_tried_once_more_then_taken_back_and_a_shorter_step_is_tried(dense):
    calls = []

    def ruin(model, number, again, epochs):
        calls.append((number, again))
        if model[0].out_features < 40:
            nn.init.zeros_(model[4].weight)
            nn.init.constant_(model[4].bias, 1.0)

    outcome = loop(pace=Following(), allowed=0.01, drop=0.02, recover=ruin).run(
        dense, judge(dense), GOAL, progress=Progress()
    )
    first = outcome.rounds[0]
    failed = [it for it in outcome.rounds if not it.recovered]
    assert failed and (failed[0].round, True) in calls and failed[0].epochs == 4
    assert outcome.chosen.recovered and outcome.chosen.widths["0"] >= 40 and not outcome.chosen.holds
    assert "Recovery failed" in outcome.reason or "Nothing smaller" in outcome.reason
    assert "comes nearest" in outcome.reason
    assert first.cost_so_far < outcome.rounds[-1].cost_so_far


def test_with_a_fixed_number_of_rounds_failure_is_the_end(dense):
    def ruin(model, number, again, epochs):
        nn.init.zeros_(model[4].weight)

    outcome = loop(pace=Fixed("constant", 5, 2), drop=0.02, recover=ruin).run(
        dense, judge(dense), GOAL, progress=Progress()
    )
    assert len(outcome.rounds) == 1 and "Recovery failed after 1 round" in outcome.reason


def test_few_examples_give_the_benefit_of_the_doubt():
    dense, cut = np.ones(100), np.ones(100)
    cut[:4] = 0
    assert not Judgement(0.0, cut).surely_below(Judgement(0.0, dense), 0.02)
    assert Judgement(0.0, np.repeat(cut, 50)).surely_below(Judgement(0.0, np.repeat(dense, 50)), 0.02)


def test_cost_is_counted_in_dense_trainings():
    cost = Cost(dense_macs=1000, dense_epochs=10, taught=False)
    assert cost.of(1000, 10) == pytest.approx(1.0)
    assert cost.of(250, 10) == pytest.approx(0.25)
    assert Cost(1000, 10, taught=True).of(250, 10) == pytest.approx((3 * 0.25 + 1) / 3)


def test_the_last_round_that_can_be_paid_for_goes_all_the_way(dense):
    free = loop(pace=Fixed("constant", 5, 2)).run(dense, judge(dense), GOAL, progress=Progress())
    most = free.rounds[1].cost_so_far * 1.2
    tight = loop(pace=Fixed("constant", 5, 2), most=most).run(dense, judge(dense), GOAL, progress=Progress())
    assert tight.rounds[-1].progress == 1 and len(tight.rounds) < len(free.rounds)
    assert tight.rounds[-1].cost_so_far <= most


def test_a_limit_on_cost_too_small_for_one_round_is_refused(dense):
    with pytest.raises(InputError, match="do not pay for one round of 2 epochs, which costs 0.0") as caught:
        loop(pace=Following(), most=0.001).run(dense, judge(dense), GOAL, progress=Progress())
    assert "prune.cost_limit" in caught.value.remedy


def test_a_plan_that_cuts_nothing_is_refused(dense):
    with pytest.raises(InputError, match="cuts nothing"):
        loop(pace=Following()).run(dense, judge(dense), {"0": 64}, progress=Progress())


class Killed(BaseException):
    """Stands for a process that ends in the middle of everything."""


@pytest.mark.parametrize("where", [("round-1", 1), ("round-1", 2), ("round-2", 2), ("round-3", 1)])
def test_a_run_that_is_killed_goes_on_from_its_last_epoch_and_ends_in_the_same_model(
    dense, tmp_path, monkeypatch, where
):
    monkeypatch.setattr("reprune.training.loop.CHECKPOINT_SECONDS", -1)
    pace, epochs = Fixed("constant", 3, 2), []
    expected = loop(pace=pace, allowed=0.01).run(dense, judge(dense), GOAL, progress=Progress())

    def kill(name, epoch):
        epochs.append((name, epoch))
        if (name, epoch) == where and epochs.count(where) == 1:
            raise Killed

    checkpoints = Checkpoints(open_store(str(tmp_path)), "test", "a" * 16)
    again = {"pace": pace, "allowed": 0.01, "checkpoints": checkpoints, "told": kill}
    with pytest.raises(Killed):
        loop(**again).run(dense, judge(dense), GOAL, progress=Progress(checkpoints))
    torch.manual_seed(99)
    outcome = loop(**again).run(dense, judge(dense), GOAL, progress=Progress(checkpoints))

    assert outcome.rounds == expected.rounds and outcome.reason == expected.reason
    assert outcome.recipe == expected.recipe
    for name, tensor in expected.model.state_dict().items():
        assert torch.equal(tensor, outcome.model.state_dict()[name]), name
    assert len(epochs) == len(set(epochs)) == 6, "an epoch was done twice"
