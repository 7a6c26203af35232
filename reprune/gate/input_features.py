"""A few numbers that describe an input simply enough for a person: columns, brightness, contrast, length."""

from typing import Any

import numpy as np

MOST_COLUMNS = 100


def simple_features(inputs: Any) -> dict[str, np.ndarray]:
    """Return simple features of each example by name, ``[N]`` each.

    Args:
        inputs: Collated inputs: images ``[N, C, H, W]``, columns ``[N, F]``, tokens or masks ``[N, T]``; what has
            another form has no features.
    """
    if isinstance(inputs, dict):
        named = list(inputs.items())
    elif isinstance(inputs, np.ndarray):
        named = [("", inputs)]
    else:
        named = [(f"input {place}", value) for place, value in enumerate(inputs)]
    return {
        f"{name} {feature}".strip(): values for name, value in named for feature, values in _features(value).items()
    }


def _features(value: np.ndarray) -> dict[str, np.ndarray]:
    floating = np.issubdtype(value.dtype, np.floating)
    if value.ndim == 4 and floating:
        pixels = value.reshape(len(value), -1).astype(np.float64)
        return {"brightness": pixels.mean(axis=1), "contrast": pixels.std(axis=1, ddof=1)}
    if value.ndim == 2 and floating and value.shape[1] <= MOST_COLUMNS:
        return {f"column {place}": column.astype(np.float64) for place, column in enumerate(value.T)}
    if value.ndim == 2 and not floating:
        return {"length": _length(value)}
    return {}


def _length(tokens: np.ndarray) -> np.ndarray:
    """Return the number of tokens before the last one only repeats, as padding does."""
    differs = tokens != tokens[:, -1:]
    return np.asarray((differs * np.arange(1, tokens.shape[1] + 1)).max(axis=1).astype(np.float64))
