"""Re-estimate the running statistics of batch normalisation after a cut: no gradient, a few hundred examples."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def reestimate(model: nn.Module, batches: Iterable[Any]) -> nn.Module:
    """Replace running means and variances by the averages over some batches, in place.

    A cut leaves the statistics of the dense network behind, and they no longer fit (EagleEye, Li et al. 2020,
    arXiv:2007.02491). The batch-norm layers alone run in training mode, so dropout stays off.

    Args:
        model: Any model; without batch normalisation it is left as it is.
        batches: Model inputs, each a tensor, a tuple of arguments, or a dict of keyword arguments.

    Returns:
        The same model.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return model
    was_training = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over all batches
            norm.train()
        for batch in batches:
            if isinstance(batch, dict):
                model(**batch)
            elif isinstance(batch, tuple):
                model(*batch)
            else:
                model(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in was_training.items():
            module.training = training
    return model
