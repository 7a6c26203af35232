"""Forward passes that round as the quantized file will, so that training makes up for it.

What is rounded to eight bits keeps its gradient as though it were not (Jacob et al., 2018, arXiv:1712.05877); torch's
own operators do both. The model stays a plain one in float: its weights are exported and quantized like any other's.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reprune.training import frozen_batchnorm

COMPUTING = {"conv1d", "conv2d", "conv3d", "linear"}
"""Functions whose input and weight are rounded, by name."""

CHAINING = {
    *("add", "__add__", "__radd__", "mul", "__mul__", "__rmul__", "cat", "concat", "concatenate"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("leaky_relu", "sigmoid", "interpolate"),
}
"""Functions between convolutions whose inputs are rounded. Those that work in place are left alone: a statistic that is
updated by ``add_`` must stay what it is."""

_LARGEST = 255
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Rounding:
    """How a quantized file rounds, as `reprune.inference.onnx.quantize` writes it.

    Attributes:
        levels: Weights are whole multiples of their channel's scale from ``-levels`` to ``levels``: 127, or 64 where
            the processor's products saturate.
        chained: Whether the operators between convolutions are rounded, too.
    """

    levels: int = 127
    chained: bool = True


@contextlib.contextmanager
def rounded(model: nn.Module, rounding: Rounding) -> Iterator[None]:
    """Let each forward pass of a model round, while entered; a copy made meanwhile goes on to.

    Batch normalization keeps to its running statistics, for the file has it folded into the weights. That folding is of
    no account here: a factor for each channel changes nothing about rounding by a scale for each channel. Layers that
    eight bits are not made for compute in float, here as in the file.

    Args:
        model: The model; its parameters and buffers stay what and where they are.
        rounding: How the file rounds.
    """
    mode = _Mode(rounding)

    def enter(*_: Any) -> None:
        mode.__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def fix(norm: nn.Module, _: Any) -> None:
        norm.eval()

    hooks = [model.register_forward_pre_hook(enter), model.register_forward_hook(leave, always_call=True)]
    hooks += [norm.register_forward_pre_hook(fix) for norm in frozen_batchnorm.norms(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def round_weight(weight: Tensor, levels: int) -> Tensor:
    """Return a weight ``[outputs, ...]`` rounded symmetrically, by one scale for each output."""
    scale = (weight.detach().flatten(1).abs().amax(1).float() / levels).clamp(min=_TINY)
    zero = torch.zeros(len(scale), dtype=torch.int32, device=scale.device)
    plain = torch.fake_quantize_per_channel_affine(weight.float(), scale, zero, 0, -levels, levels)
    return plain.to(weight.dtype)


def round_activation(x: Tensor) -> Tensor:
    """Return a tensor rounded to unsigned 8 bits over its own range, zero included.

    The file has one range for all inputs, which calibration takes once the weights are final. That of the batch at hand
    comes close, and leaves nothing to keep beside the weights.
    """
    low, high = (it.float() for it in x.detach().aminmax())
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / _LARGEST).clamp(min=_TINY)
    zero = (-low / scale).round().clamp(0, _LARGEST).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, _LARGEST).to(x.dtype)


class _Mode(TorchFunctionMode):
    """Rounds the arguments of what torch is asked to compute."""

    def __init__(self, rounding: Rounding) -> None:
        super().__init__()
        self._rounding = rounding

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in COMPUTING and len(args) > 1:
            x, weight, *others = args
            args = (_rounded(x), round_weight(weight, self._rounding.levels), *others)
        elif name in CHAINING and self._rounding.chained:
            args = tuple(_rounded(it) for it in args)
        return func(*args, **(kwargs or {}))


def _rounded(value: Any) -> Any:
    """Return a tensor rounded, those in a list too, and anything else as it is."""
    if isinstance(value, list | tuple):
        return [_rounded(it) for it in value]
    if torch.is_tensor(value) and value.is_floating_point() and value.numel():
        return round_activation(value)
    return value
