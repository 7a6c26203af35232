"""What a model costs to store and to run: parameters, and multiply-accumulates on its example inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import fx

from reprune.pruning.graph.analysis import Analysis, Group


@dataclass(frozen=True)
class Counts:
    """Parameters, and multiply-accumulates on the example inputs of an analysis, batch included.

    A group's share is what lies in its slices. A weight's rows belong to one group and its columns to another, so the
    shares of all groups add up to more than one.
    """

    parameters: int
    """Ties counted once."""
    macs: int
    """Of convolutions, matrix products, attention and recurrent layers; what torch's flop counter counts, halved."""
    parameters_of: dict[str, float]
    """Share of the parameters by group."""
    macs_of: dict[str, float]
    """Share of the multiply-accumulates by group: those of weights."""
    prunable: float
    """Share of the parameters that lies in slices of some group."""


def counts(analysis: Analysis) -> Counts:
    """Count a model's parameters and multiply-accumulates from its graph.

    Args:
        analysis: Of the model.
    """
    sizes = {name: prod(analysis.shapes[name]) for name in analysis.parameters}
    macs = 0
    by_tensor: dict[str, float] = {}
    for node in analysis.capture.module.graph.nodes:
        cost = _macs(node)
        macs += cost
        weights = dict.fromkeys(_weights(node, analysis)) if cost else {}
        whole = sum(sizes[name] for name in weights)
        for name in weights:
            by_tensor[name] = by_tensor.get(name, 0.0) + cost * sizes[name] / whole
    touched = {group.name: dict(_touched(group, analysis)) for group in analysis.groups}
    total = sum(sizes.values())
    return Counts(
        parameters=total,
        macs=macs,
        parameters_of={
            name: sum(share * sizes.get(tensor, 0) for tensor, share in shares.items()) / max(total, 1)
            for name, shares in touched.items()
        },
        macs_of={
            name: sum(share * by_tensor.get(tensor, 0) for tensor, share in shares.items()) / max(macs, 1)
            for name, shares in touched.items()
        },
        prunable=sum(_covered(analysis).get(name, 0.0) * size for name, size in sizes.items()) / max(total, 1),
    )


def _covered(analysis: Analysis) -> dict[str, float]:
    """Return which share of each tensor lies in slices of any group."""
    dims: dict[str, dict[int, float]] = {}
    for group in analysis.groups:
        for member in group.members:
            share = sum(map(len, member.cells)) / analysis.shapes[member.tensor][member.dim]
            own = dims.setdefault(member.tensor, {})
            own[member.dim] = own.get(member.dim, 0.0) + share
    return {name: 1 - prod(1 - share for share in own.values()) for name, own in dims.items()}


def _touched(group: Group, analysis: Analysis) -> Iterator[tuple[str, float]]:
    """Return each tensor that a group has slices of, and their share of it."""
    kept: dict[str, float] = {}
    for member in group.members:
        gone = sum(map(len, member.cells)) / analysis.shapes[member.tensor][member.dim]
        kept[member.tensor] = kept.get(member.tensor, 1.0) * (1 - gone)
    return ((tensor, 1 - left) for tensor, left in kept.items())


def _weights(node: fx.Node, analysis: Analysis) -> Iterator[str]:
    """Return the parameters of two dimensions or more that a node works with, seen through views of them."""
    for source in node.all_input_nodes:
        while source.op == "call_function" and len(source.all_input_nodes) == 1:
            source = source.all_input_nodes[0]
        name = analysis.capture.tensors.get(source.name)
        if name in analysis.parameters and len(analysis.shapes[name]) > 1:
            yield name


def _macs(node: fx.Node) -> int:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return 0
    operator = str(schema.name).removeprefix("aten::")
    values = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | node.kwargs
    if operator.startswith("conv_transpose"):
        return prod(_shape(values["input"])) * prod(_shape(values["weight"])[1:])
    if operator.startswith("conv"):
        return prod(_shape(node)) * prod(_shape(values["weight"])[1:])
    if operator == "linear":
        return prod(_shape(node)) * _shape(values["input"])[-1]
    if operator in ("addmm", "baddbmm"):
        return prod(_shape(node)) * _shape(node.args[1])[-1]
    if operator in ("matmul", "mm", "bmm", "mv", "dot", "addmv"):
        return prod(_shape(node)) * _shape(node.args[0])[-1]
    if operator == "scaled_dot_product_attention":
        query, value = _shape(values["query"]), _shape(values["value"])
        return prod(query[:-1]) * value[-2] * (query[-1] + value[-1])
    if operator == "einsum":
        return _einsum(values["equation"], [_shape(each) for each in values["tensors"]])
    if operator in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        steps = prod(_shape(values.get("input", values.get("data")))[:-1])
        return steps * sum(prod(_shape(weight)) for weight in values["params"] if len(_shape(weight)) > 1)
    return 0


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta["val"]
    return tuple(value[0].shape if isinstance(value, list | tuple) else value.shape)


def _einsum(equation: str, shapes: list[tuple[int, ...]]) -> int:
    """A product over every letter of two operands; one operand alone multiplies nothing."""
    if len(shapes) < 2:
        return 0
    sizes: dict[str, int] = {}
    for letters, shape in zip(equation.replace(" ", "").split("->")[0].split(","), shapes, strict=True):
        before, dots, after = letters.partition("...")
        middle = len(shape) - len(before) - len(after)
        names = [*before, *(f"...{i}" for i in range(middle if dots else 0)), *after]
        sizes.update(zip(names, shape, strict=True))
    return prod(sizes.values())
