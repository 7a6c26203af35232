"""The precision that a forward pass computes in; weights, gradients and optimizer stay in float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def autocast(precision: Precision, device: str = "cpu") -> AbstractContextManager[object]:
    """Return the context that a forward pass and its loss run in.

    bfloat16 has the range of float32, so gradients need no scaling (Kalamkar et al., 2019, arXiv:1905.12322).
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, dtype=torch.bfloat16)
