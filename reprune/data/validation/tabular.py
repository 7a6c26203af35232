"""Examples as rows of a table: small vectors value by value, everything larger by its summaries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reprune.data.feature_summaries import summaries

WIDEST_VECTOR = 64

Table = dict[str, NDArray[Any]]
"""Columns by name, one row an example."""


def columns(tensors: dict[str, Tensor]) -> Table:
    """Return one column a number: ``input[3]`` of a vector, ``input mean`` of an image or a sequence, ``target``.

    Args:
        tensors: Inputs and targets of some examples, batch first.
    """
    table: Table = {}
    for name, tensor in tensors.items():
        if tensor.dim() == 1:
            table[name] = tensor.numpy()
        elif tensor.dim() == 2 and tensor.shape[1] <= WIDEST_VECTOR and tensor.is_floating_point():
            table |= {f"{name}[{i}]": tensor[:, i].numpy() for i in range(tensor.shape[1])}
        else:
            table |= {f"{name} {key}": column for key, column in summaries(tensor.numpy()).items()}
    return table


def joined(parts: Sequence[Table]) -> Table:
    """Return the tables of successive batches as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
