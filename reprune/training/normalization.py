"""Batch normalization where a batch is too small for statistics of its own."""

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norm layers of a model."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@contextlib.contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch-norm layers use their running statistics: those of a single example do not exist."""
    training = [norm for norm in norms(model) if norm.training]
    for norm in training:
        norm.eval()
    try:
        yield
    finally:
        for norm in training:
            norm.train()
