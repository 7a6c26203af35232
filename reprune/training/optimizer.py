"""The optimizer, and the learning rate over the course of a training."""

import math
from typing import Literal

import torch
from torch import nn

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises from nothing."""


def optimizer_of(
    model: nn.Module, kind: Literal["sgd", "adamw"], *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return an optimizer of the parameters that require gradients; norms and biases are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=learning_rate)


def schedule(progress: float) -> float:
    """Return the share of the peak rate: linear warm-up, then half a cosine to (almost) nothing.

    A function of progress alone (0 to 1), so a training that is taken up needs no state of it.
    """
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.01)
    return max(0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))), 0.001)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate
