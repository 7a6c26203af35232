"""How many trial cuts an analysis takes: counted, because seconds tell of the machine."""

import pytest
import torch
from torch import nn

from reprune.pruning import verify
from reprune.pruning.graph import trial_pruning
from reprune.pruning.graph.analyze import analyze


class Stubborn(nn.Module):
    """Its width cannot change: its Python names it as a number of its own."""

    def __init__(self, c, width):
        super().__init__()
        self.up, self.down, self.options = nn.Linear(c, width), nn.Linear(width, c), {"width": width}

    def forward(self, x):
        return x + self.down(self.up(x).reshape(len(x), self.options["width"]).relu())


class Willing(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.up, self.down = nn.Linear(c, width), nn.Linear(width, c)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


def chain(stubborn, willing=()):
    torch.manual_seed(0)
    blocks = [*(Stubborn(16, width) for width in stubborn), *(Willing(16, width) for width in willing)]
    return nn.Sequential(nn.Linear(8, 16), *blocks, nn.Linear(16, 3))


@pytest.fixture
def runs(monkeypatch):
    """The cut models that were run."""
    seen = []
    real = verify.verify
    monkeypatch.setattr(verify, "verify", lambda *args: (seen.append(args), real(*args))[1])
    return seen


def found(model):
    return {group.name for group in analyze(model, torch.randn(2, 8)).groups}


def test_layers_that_fail_alike_cost_no_trials_of_their_own(runs):
    assert found(chain([24] * 4)) == {"0"}
    few = len(runs)
    assert found(chain([24] * 40)) == {"0"}
    assert len(runs) - few == few < 30


def test_kinds_of_failure_cost_a_few_trials_each(runs):
    assert found(chain(range(20, 36), [24, 28])) == {"0", "17.up", "18.up"}
    assert len(runs) < 4 * 16


def test_an_analysis_stops_trying_and_keeps_whole_what_is_not_proven(runs):
    model = chain(range(20, 20 + trial_pruning.SEARCH))
    analysis = analyze(model, torch.randn(2, 8))
    assert len(runs) < 1.5 * trial_pruning.SEARCH
    assert trial_pruning.SPENT in analysis.whole
    assert {group.name for group in analysis.groups} <= {"0"}
