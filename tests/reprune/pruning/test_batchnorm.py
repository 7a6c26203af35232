import torch
from torch import nn

from reprune.pruning.batchnorm import reestimate


def test_statistics_become_those_of_the_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.9)).eval()
    batches = [torch.randn(8, 2, 4, 4) * 3 + 1 for _ in range(5)]
    reestimate(model, batches)
    with torch.no_grad():
        seen = [model[0](batch) for batch in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0))
    assert model[1].momentum == 0.1


def test_modes_are_put_back_and_parameters_untouched():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    model[2].eval()
    before = [parameter.clone() for parameter in model.parameters()]
    reestimate(model, [{"input": torch.randn(4, 2)}])
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_model_without_batch_norm_runs_nothing():
    def forbidden():
        raise AssertionError("no batch is needed")
        yield

    reestimate(nn.Linear(2, 2), forbidden())
