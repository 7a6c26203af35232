"""The state of everything random: seeded from one number, and kept in a tensor."""

import random

import numpy as np
import torch
from torch import Tensor

_PYTHON_WORDS = 625
_NUMPY_WORDS = 624


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and Python, since a user's dataset may draw from any of them."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def capture() -> Tensor:
    """Return the state of the three generators as float64 and integers in one tensor of bytes, of the same size always.

    Both numpy's and Python's generator may hold half a pair of normal variates; ``nan`` stands for none.
    """
    _, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    parts = (
        np.array(words, dtype=np.uint64),
        np.array([np.nan if gauss is None else gauss], dtype=np.float64),
        np.array(keys, dtype=np.uint64),
        np.array([position], dtype=np.uint64),
        np.array([cached if has_gauss else np.nan], dtype=np.float64),
    )
    return torch.cat([torch.from_numpy(np.concatenate([p.view(np.uint8) for p in parts])), torch.get_rng_state()])


def restore(state: Tensor) -> None:
    """Put the generators into a state that `capture` returned."""
    data, taken = state.numpy(), 0

    def take(count: int, kind: type[np.uint64] | type[np.float64]) -> list[float]:
        nonlocal taken
        part = data[taken : taken + 8 * count].copy().view(kind)
        taken += 8 * count
        return part.tolist()

    words, gauss = take(_PYTHON_WORDS, np.uint64), take(1, np.float64)[0]
    random.setstate((3, tuple(int(word) for word in words), None if np.isnan(gauss) else gauss))
    keys, position, cached = take(_NUMPY_WORDS, np.uint64), int(take(1, np.uint64)[0]), take(1, np.float64)[0]
    held = 0 if np.isnan(cached) else 1
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, held, cached if held else 0.0))
    torch.set_rng_state(state[taken:].clone())
