"""Batch normalization where a process does not see a whole batch: one example alone, or one share of many."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norm layers of a model."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@contextlib.contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch-norm layers use their running statistics: those of a single example do not exist."""
    training = [norm for norm in norms(model) if norm.training and norm.track_running_stats]
    for norm in training:
        norm.eval()
    try:
        yield
    finally:
        for norm in training:
            norm.train()


def synchronize(model: nn.Module, group: Any) -> None:
    """Let the batch-norm layers of a model take their statistics over all processes of a group, in place.

    As `torch.nn.SyncBatchNorm`, which is for accelerators alone.
    """
    for norm in norms(model):
        norm.forward = partial(_forward, norm, group)  # type: ignore[method-assign]


def separate(model: nn.Module) -> None:
    """Undo `synchronize`."""
    for norm in norms(model):
        norm.__dict__.pop("forward", None)


def _forward(norm: _BatchNorm, group: Any, x: Tensor) -> Tensor:
    """Normalize ``[N, C, ...]`` by the mean and variance of each channel over all processes."""
    if not norm.training:
        plain: Tensor = type(norm).forward(norm, x)
        return plain
    others = [dim for dim in range(x.dim()) if dim != 1]
    shape = [-1 if dim == 1 else 1 for dim in range(x.dim())]
    examples = x.new_full((1,), x.numel() / x.shape[1])
    summed = _Sum.apply(torch.cat([x.sum(others), examples]), group)  # type: ignore[no-untyped-call]
    count = summed[-1].detach()
    mean = summed[:-1] / count
    centered = x - mean.view(shape)
    variance = _Sum.apply(centered.square().sum(others), group) / count  # type: ignore[no-untyped-call]
    _remember(norm, mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
    normal: Tensor = centered * (variance + norm.eps).rsqrt().view(shape)
    return normal if norm.weight is None else normal * norm.weight.view(shape) + norm.bias.view(shape)


def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Take statistics into the running ones, as torch does."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)


class _Sum(torch.autograd.Function):
    """A sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: Any) -> Tensor:
        ctx.group = group
        summed = value.clone()
        dist.all_reduce(summed, group=group)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        summed = gradients[0].clone()
        dist.all_reduce(summed, group=ctx.group)
        return summed, None
