from dataclasses import replace

import pytest
import torch
from torch import nn

from reprune.data.micro_batches import split
from reprune.errors import StepError
from reprune.training.trainer import Settings
from tests.reprune.training.helpers import network, problem, train

SETTINGS = Settings(epochs=2, learning_rate=0.05, seed=7)


def plain():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize("micro_batch", [1, 5, 64])
def test_a_batch_in_pieces_is_the_same_step(micro_batch):
    whole, pieces = plain(), plain()
    train(whole, SETTINGS, data=problem(50))
    train(pieces, replace(SETTINGS, micro_batch=micro_batch), data=problem(50))
    for a, b in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_batch_norm_gets_at_least_two_examples_a_piece():
    train(network(), replace(SETTINGS, micro_batch=1), data=problem(33))


def test_pieces_are_of_almost_the_same_size():
    inputs = torch.arange(17)
    sizes = [len(x["ids"]) for x, y in split(({"ids": inputs}, (inputs, inputs)), 8, 2)]
    assert sum(sizes) == 17 and max(sizes) - min(sizes) <= 1 and max(sizes) <= 8


class Hungry(nn.Module):
    """Runs out of memory on more than so many examples."""

    def __init__(self, most):
        super().__init__()
        self.inner = plain()
        self.most = most

    def forward(self, x):
        if self.training and len(x) > self.most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB")
        return self.inner(x)


def test_when_memory_runs_out_batches_are_computed_in_halves():
    told, hungry, whole = [], Hungry(5), plain()
    history = train(hungry, SETTINGS, on_incident=told.append)
    train(whole, SETTINGS)
    assert [it.kind for it in history.incidents] == ["out-of-memory"] * 2
    assert "4 at a time" in told[-1].text
    assert torch.allclose(hungry.inner[0].weight, whole[0].weight, atol=1e-5)


def test_memory_that_holds_no_single_example_is_an_error():
    with pytest.raises(StepError, match="Memory ran out on 1 example at once"):
        train(Hungry(0), replace(SETTINGS, micro_batch=2))


def test_memory_that_is_really_exhausted():
    class Huge(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plain()

        def forward(self, x):
            if self.training and len(x) > 8:
                torch.empty(1 << 50)
            return self.inner(x)

    assert train(Huge(), SETTINGS).incidents[0].kind == "out-of-memory"


def test_other_errors_of_the_model_are_not_swallowed():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(Broken(), SETTINGS)
