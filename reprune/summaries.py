"""An example of any shape as a few numbers, one column a number: what data checks and drift tests look at."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Columns = dict[str, NDArray[np.float32]]
"""Columns by name, ``[N]`` each."""

SIGNIFICANT_BITS = 16


def summaries(values: Tensor) -> Columns:
    """Return the mean, spread, extremes, roughness, and the shares of zeros and missing values of each example.

    Roughness is the mean absolute difference of neighbours along the last dimensions (rows and columns of an image,
    steps of a sequence); noise raises it, blur lowers it.

    Args:
        values: ``[N, ...]``, of any real type.
    """
    flat = values.reshape(len(values), -1).to(torch.float64)
    missing = flat.isnan()
    known = (~missing).sum(dim=1).clamp(min=1)
    mean = flat.nansum(dim=1) / known
    spread = ((flat - mean[:, None]).square().nansum(dim=1) / known).sqrt()
    columns = {
        "mean": mean,
        "std": spread,
        "min": flat.masked_fill(missing, torch.inf).amin(dim=1),
        "max": flat.masked_fill(missing, -torch.inf).amax(dim=1),
        "roughness": _roughness(values.to(torch.float64)),
        "zeros": (flat == 0).double().mean(dim=1),
        "missing": missing.double().mean(dim=1),
    }
    return {name: numbers(column) for name, column in columns.items()}


def numbers(values: Tensor) -> NDArray[np.float32]:
    """Return values as float32, cut to 16 significant bits, so that another machine's rounding is no difference."""
    mantissa, exponent = np.frexp(values.detach().cpu().double().numpy())
    return np.ldexp(np.round(mantissa * 2**SIGNIFICANT_BITS), exponent - SIGNIFICANT_BITS).astype(np.float32)


def _roughness(values: Tensor) -> Tensor:
    dimensions = range(max(1, values.dim() - 2), values.dim())
    steps = [
        values.diff(dim=d).abs().reshape(len(values), -1).nanmean(dim=1) for d in dimensions if values.shape[d] > 1
    ]
    return torch.stack(steps).mean(dim=0) if steps else torch.zeros(len(values), dtype=torch.float64)
