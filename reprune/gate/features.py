"""A few numbers that describe an input simply enough for a person: columns, brightness, contrast, length."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_COLUMNS = 100


def simple_features(inputs: Any) -> dict[str, np.ndarray]:
    """Return simple features of each example by name, ``[N]`` each.

    Args:
        inputs: Collated inputs: images ``[N, C, H, W]``, columns ``[N, F]``, tokens or masks ``[N, T]``; what has
            another form has no features.
    """
    if isinstance(inputs, dict):
        named = list(inputs.items())
    elif torch.is_tensor(inputs):
        named = [("", inputs)]
    else:
        named = [(f"input {place}", value) for place, value in enumerate(inputs)]
    return {
        f"{name} {feature}".strip(): values.numpy()
        for name, value in named
        for feature, values in _features(value.detach()).items()
    }


def _features(value: Tensor) -> dict[str, Tensor]:
    if value.dim() == 4 and value.is_floating_point():
        pixels = value.double().flatten(1)
        return {"brightness": pixels.mean(dim=1), "contrast": pixels.std(dim=1)}
    if value.dim() == 2 and value.is_floating_point() and value.shape[1] <= MOST_COLUMNS:
        return {f"column {place}": column.double() for place, column in enumerate(value.T)}
    if value.dim() == 2 and not value.is_floating_point():
        return {"length": _length(value)}
    return {}


def _length(tokens: Tensor) -> Tensor:
    """Return the number of tokens before the last one only repeats, as padding does."""
    differs = (tokens != tokens[:, -1:]).long()
    return (differs * torch.arange(1, tokens.shape[1] + 1)).amax(dim=1).double()
