import random

import numpy as np
import pytest
import torch

from reprune.training import rng


def draw():
    return [torch.rand(3).tolist(), np.random.normal(size=3).tolist(), random.gauss(0, 1), random.random()]


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_a_captured_state_gives_the_same_numbers_again(drawn):
    rng.seed_everything(5)
    for _ in range(drawn):  # an odd number of normal variates leaves half a pair behind
        np.random.normal()
        random.gauss(0, 1)
    state = rng.capture()
    first = draw()
    rng.seed_everything(6)
    assert draw() != first
    rng.restore(state)
    assert draw() == first


def test_the_size_is_always_the_same():
    rng.seed_everything(1)
    size = rng.capture().shape
    random.gauss(0, 1), np.random.normal(), torch.randn(1)
    assert rng.capture().shape == size
