"""An operator as the runtime sees it, without its widths, and graphs that time it at any width."""

import math
from collections.abc import Iterable
from typing import Any, Literal, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pydantic import BaseModel, ConfigDict

from reprune.errors import InputError

KINDS = ("conv", "conv_transpose", "linear", "matmul")
"""Kinds of operators that have a latency model."""

OPSET = 18
IR_VERSION = 10


class Operator(Protocol):
    """What a profile needs to know about an operator of a model; the pruning engine's analysis provides it."""

    @property
    def name(self) -> str:
        """Name of the weight."""

    @property
    def kind(self) -> str:
        """One of `KINDS`, or a kind without a latency model."""

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``[out, in / groups, *kernel]`` or ``[out, in]``, whichever way the weight is stored."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """``[N, in, *spatial]`` or ``[N, ..., in]``; without N for an operator that sees no batch."""

    @property
    def stride(self) -> tuple[int, ...]:
        """By spatial dimension; dilation likewise."""

    @property
    def padding(self) -> tuple[int, ...] | str:
        """By spatial dimension, before and after alike; or ``same``, or ``valid``."""

    @property
    def dilation(self) -> tuple[int, ...]:
        """By spatial dimension."""

    @property
    def groups(self) -> int:
        """Groups of a convolution."""


def example_batch(operators: Iterable[Operator]) -> int:
    """Return the number of examples that operators were seen with; some fold tokens or windows into the batch."""
    batched = (
        it for it in operators if OperatorShape.models(it) and len(it.input_shape) >= max(len(it.weight_shape), 2)
    )
    return min((operator.input_shape[0] for operator in batched), default=1)


class OperatorShape(BaseModel):
    """Everything that decides an operator's latency but its widths.

    Attributes:
        kind: ``conv``, ``depthwise`` (a convolution whose groups shrink with its channels) or ``linear``.
        kernel: Kernel size; empty for a matrix product. Stride, padding (before and after alike) and dilation likewise.
        groups: Groups of a convolution that keeps their number.
        multiplier: Output channels for each input channel of a depthwise convolution.
        transposed: Whether it is a transposed convolution.
        spatial: Spatial size of the input; empty for a matrix product.
        rows: Rows of a matrix product for one example (tokens); 1 for a convolution.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["conv", "depthwise", "linear"]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    multiplier: int = 1
    transposed: bool = False
    spatial: tuple[int, ...] = ()
    rows: int = 1

    @staticmethod
    def models(operator: Operator) -> bool:
        """Return whether there is a latency model for an operator's kind."""
        return operator.kind in KINDS

    @classmethod
    def of(cls, operator: Operator, batch_size: int) -> "OperatorShape":
        """Return the shape of a model's operator.

        Args:
            operator: As it was seen on example inputs.
            batch_size: Examples in them (`example_batch`).

        Raises:
            InputError: It is of a kind that has no latency model.
        """
        if not cls.models(operator):
            raise InputError(f"{operator.name}: there is no latency model for {operator.kind!r}.", "Leave it out.")
        if operator.kind in ("linear", "matmul"):
            rows = math.prod(operator.input_shape) // operator.weight_shape[1] // batch_size
            return cls(kind="linear", rows=max(rows, 1))
        depthwise = operator.groups > 1 and operator.weight_shape[1] == 1
        return cls(
            kind="depthwise" if depthwise else "conv",
            kernel=operator.weight_shape[2:],
            stride=operator.stride,
            padding=_padding(operator),
            dilation=operator.dilation,
            groups=1 if depthwise else operator.groups,
            multiplier=operator.weight_shape[0] // operator.groups if depthwise else 1,
            transposed=operator.kind == "conv_transpose",
            spatial=operator.input_shape[-len(operator.weight_shape[2:]) :],
        )

    def key(self) -> str:
        """Return a readable name that tells shapes apart: ``conv 3x3 stride 1x1 padding 1x1 on 8x8``."""
        if self.kind == "linear":
            return f"linear {self.rows} rows"
        kind = f"{self.kind}_transpose" if self.transposed else self.kind
        parts = [kind, _times(self.kernel), "stride", _times(self.stride), "padding", _times(self.padding)]
        parts += ["dilation", _times(self.dilation)] if set(self.dilation) - {1} else []
        parts += ["groups", str(self.groups)] if self.groups > 1 else []
        parts += ["multiplier", str(self.multiplier)] if self.multiplier > 1 else []
        return " ".join([*parts, "on", _times(self.spatial)])

    @property
    def units(self) -> tuple[int, int]:
        """Return what input and output widths are multiples of, whatever is cut."""
        return self.groups, self.groups * self.multiplier

    def macs(self, in_width: int, out_width: int) -> int:
        """Return the multiply-accumulates for one example."""
        if self.kind == "linear":
            return self.rows * in_width * out_width
        inner = 1 if self.kind == "depthwise" else in_width // self.groups
        positions = self.spatial if self.transposed else self.output_spatial()
        return out_width * inner * math.prod(self.kernel) * math.prod(positions)

    def output_spatial(self) -> tuple[int, ...]:
        """Return the spatial size of the output, that of a transposed convolution without output padding."""
        if self.transposed:
            return tuple(
                (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1
                for size, kernel, stride, pad, dilation in zip(
                    self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True
                )
            )
        return tuple(
            (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, pad, dilation in zip(
                self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )


def chain(shape: OperatorShape, in_width: int, out_width: int, batch_size: int, copies: int) -> bytes:
    """Return an ONNX graph in which an operator runs several times on one input, each adding to the one before.

    The difference between graphs with more and with fewer copies is the operator's own time as it is inside a model:
    the runtime fuses the additions into the operators, and the cost of a call, and of bringing input and output into
    the layout its kernels use, is the same in all of them and cancels.

    Args:
        shape: The operator.
        in_width: Its input channels or features; out_width: its output channels or features.
        out_width: ``in_width`` times the multiplier for a depthwise convolution.
        batch_size: Examples.
        copies: How often it runs, each time with weights of its own.
    """
    build = _linear if shape.kind == "linear" else _convolution
    nodes, weights, output = [], [], ""
    for i in range(copies):
        more, arrays, output = build(shape, in_width, out_width, i, output)
        nodes += more
        weights += [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    if shape.kind == "linear":
        before, after = [batch_size * shape.rows, in_width], [batch_size * shape.rows, out_width]
    else:
        before = [batch_size, in_width, *shape.spatial]
        after = [batch_size, out_width, *shape.output_spatial()]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, before)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, after)],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    serialized: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return serialized


_Built = tuple[list[onnx.NodeProto], dict[str, np.ndarray], str]


def _convolution(shape: OperatorShape, in_width: int, out_width: int, i: int, sum_so_far: str) -> _Built:
    groups = in_width if shape.kind == "depthwise" else shape.groups
    weight = (in_width, out_width // groups) if shape.transposed else (out_width, in_width // groups)
    arrays = {f"w{i}": _filled(*weight, *shape.kernel), f"b{i}": _filled(out_width)}
    attributes: dict[str, Any] = {
        "kernel_shape": shape.kernel,
        "strides": shape.stride,
        "pads": shape.padding * 2,
        "dilations": shape.dilation,
        "group": groups,
    }
    kind = "ConvTranspose" if shape.transposed else "Conv"
    nodes = [helper.make_node(kind, ["x", f"w{i}", f"b{i}"], [f"y{i}"], **attributes)]
    if not sum_so_far:
        return nodes, arrays, f"y{i}"
    return [*nodes, helper.make_node("Add", [f"y{i}", sum_so_far], [f"s{i}"])], arrays, f"s{i}"


def _linear(shape: OperatorShape, in_width: int, out_width: int, i: int, sum_so_far: str) -> _Built:
    arrays = {f"w{i}": _filled(out_width, in_width)}
    bias = sum_so_far
    if not sum_so_far:
        arrays["b"] = _filled(out_width)
        bias = "b"
    return [helper.make_node("Gemm", ["x", f"w{i}", bias], [f"y{i}"], transB=1)], arrays, f"y{i}"


_VALUES = np.random.default_rng(0).standard_normal(4096).astype(np.float32) * 0.01


def _filled(*shape: int) -> np.ndarray:
    """Return values that are no special case of arithmetic; their amount, not their quality, takes time."""
    return np.resize(_VALUES, shape)


def _padding(operator: Operator) -> tuple[int, ...]:
    if not isinstance(operator.padding, str):
        return operator.padding
    kernel = operator.weight_shape[2:]
    if operator.padding == "valid":
        return (0,) * len(kernel)
    return tuple(d * (k - 1) // 2 for k, d in zip(kernel, operator.dilation, strict=True))


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
