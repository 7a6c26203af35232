"""One pass over a graph: each operator's rule moves the labels of its arguments to its result."""

import operator
from typing import Any

import torch
from torch import fx, nn

from reprune.pruning.capture import Capture, tensors_of
from reprune.pruning.flow import Flow
from reprune.pruning.layout import Factor, Layout
from reprune.pruning.rules import attention, elementwise, experts, linear, norm, positional, recurrent, reduce, shape
from reprune.pruning.rules.registry import RULES, Call

assert (
    attention and elementwise and experts and linear and norm and positional and recurrent and reduce and shape
)  # imported for their rules


def tracked(captured: Capture, model: nn.Module, flow: Flow) -> dict[str, Layout]:
    """Give every index of every parameter and buffer of a graph a fresh label; return the layouts by name."""
    tensors = tensors_of(model)
    return {name: _fresh(flow, tuple(tensors[name].shape)) for name in dict.fromkeys(captured.tensors.values())}


def propagate(captured: Capture, flow: Flow, owned: dict[str, Layout]) -> None:
    """Run all rules over a graph; what they find is noted in the flow."""
    values: dict[fx.Node, Any] = {}
    dynamic = {
        node for node in captured.module.graph.nodes if node.op == "placeholder" and node.name in captured.inputs
    }
    for node in captured.module.graph.nodes:
        if node.op == "placeholder":
            values[node] = owned[captured.tensors[node.name]] if node.name in captured.tensors else _fixed(node)
        elif node.op == "call_function":
            flow.node = node
            if any(source in dynamic for source in node.all_input_nodes):
                dynamic.add(node)
            flow.constants = {id(values[source]) for source in node.all_input_nodes if source not in dynamic}
            values[node] = _call(flow, node, values)
        elif node.op == "get_attr":
            values[node] = _fixed(node)
    for node in captured.results:
        flow.node = node
        for layout in _layouts(values[node]):
            for factor in layout.factors:
                flow.couplings.freeze(factor.grid, "reaches the model's output")


def _fresh(flow: Flow, shape: tuple[int, ...]) -> Layout:
    return Layout(shape, tuple(Factor((dim,), flow.couplings.fresh(n)) for dim, n in enumerate(shape) if n > 1))


def _fixed(node: fx.Node) -> Any:
    value = node.meta.get("val")
    return Layout(tuple(int(n) for n in value.shape)) if isinstance(value, torch.Tensor) else value


def _call(flow: Flow, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    if node.target is operator.getitem:
        source, index = node.args
        return values[source][index]  # type: ignore[index]
    arguments = _bind(node, values)
    name = _name(node)
    rule = RULES.get(name)
    pointwise = isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags
    if rule is None and pointwise:
        rule = RULES["clone"]
    elif rule is None and name.endswith("_") and isinstance(node.target, torch._ops.OpOverload):
        rule = RULES.get(name[:-1])
    if rule is None:
        return _unknown(flow, node, arguments)
    result = rule(flow, Call(node, arguments))
    if isinstance(result, Layout):
        return flow.normalized(result)
    return result


def _bind(node: fx.Node, values: dict[fx.Node, Any]) -> dict[str, Any]:
    args = fx.node.map_arg(node.args, lambda n: values[n])
    kwargs = fx.node.map_arg(node.kwargs, lambda n: values[n])
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {**{str(i): value for i, value in enumerate(args)}, **kwargs}
    bound = {argument.name: argument.default_value for argument in schema.arguments}
    bound.update(zip((argument.name for argument in schema.arguments), args, strict=False))
    return {**bound, **kwargs}


def _name(node: fx.Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).removeprefix("aten::") if schema is not None else str(node.target)


def _layouts(value: Any) -> list[Layout]:
    if isinstance(value, Layout):
        return [value]
    if isinstance(value, list | tuple):
        return [layout for each in value for layout in _layouts(each)]
    return []


def _unknown(flow: Flow, node: fx.Node, arguments: dict[str, Any]) -> Any:
    """Fail closed: what an operator without a rule touches stays whole."""
    for layout in _layouts(list(arguments.values())):
        flow.freeze(layout, "has no pruning rule")
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return [Layout(tuple(int(n) for n in v.shape)) if isinstance(v, torch.Tensor) else v for v in value]
    return _fixed(node)
