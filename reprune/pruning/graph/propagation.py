"""One pass over a graph: each operator's rule moves the labels of its arguments to its result."""

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils import _pytree as pytree

from reprune.pruning.graph.capture import Capture, tensors_of
from reprune.pruning.graph.flow import Flow, Site
from reprune.pruning.graph.layout import Factor, Layout
from reprune.pruning.graph.rules import (
    attention,
    elementwise,
    experts,
    linear,
    norm,
    positional,
    recurrent,
    reduce,
    shape,
)
from reprune.pruning.graph.rules.registry import RULES, Call

assert (
    attention and elementwise and experts and linear and norm and positional and recurrent and reduce and shape
)  # imported for their rules


def tracked(captured: Capture, model: nn.Module, flow: Flow) -> dict[str, Layout]:
    """Give every index of every parameter and buffer of a graph a fresh label; return the layouts by name."""
    tensors = tensors_of(model)
    kernels = {id(module.weight) for module in model.modules() if isinstance(module, _ConvNd)}
    return {
        name: _fresh(flow, tuple(tensors[name].shape), 2 if id(tensors[name]) in kernels else None)
        for name in dict.fromkeys(captured.tensors.values())
    }


def propagate(captured: Capture, flow: Flow, owned: dict[str, Layout]) -> None:
    """Run all rules over a graph; what they find is noted in the flow."""
    values: dict[fx.Node, Any] = {}
    dynamic = {
        node for node in captured.module.graph.nodes if node.op == "placeholder" and node.name in captured.inputs
    }
    raw = set(dynamic)  # what no weight has touched
    for node in captured.module.graph.nodes:
        if node.op == "placeholder":
            values[node] = owned[captured.tensors[node.name]] if node.name in captured.tensors else _fixed(node)
        elif node.op == "call_function":
            flow.node = node
            given = dynamic.intersection(node.all_input_nodes)
            flow.reads_input = bool(given) and given <= raw
            if given:
                dynamic.add(node)
            if given and raw.issuperset(node.all_input_nodes):
                raw.add(node)
            flow.constants = {id(values[source]) for source in node.all_input_nodes if source not in dynamic}
            values[node] = _call(flow, node, values)
            _note_given(flow, node, values)
        elif node.op == "get_attr":
            values[node] = _fixed(node)
    for node in captured.results:
        flow.node = node
        for layout in _layouts(values[node]):
            for factor in layout.factors:
                flow.couplings.freeze(factor.grid, "reaches the model's output")


def _fresh(flow: Flow, shape: tuple[int, ...], depth: int | None) -> Layout:
    """Label the first dimensions: what a kernel extends over is nothing to prune."""
    sizes = enumerate(shape[:depth])
    return Layout(shape, tuple(Factor((dim,), flow.couplings.fresh(n)) for dim, n in sizes if n > 1))


def _note_given(flow: Flow, node: fx.Node, values: dict[fx.Node, Any]) -> None:
    """Note the sizes of what comes from outside of the modules that a node runs in: they were given it."""
    inside = _modules(node)
    for source in node.all_input_nodes:
        layout = values[source]
        if source.op != "call_function" or not isinstance(layout, Layout):
            continue
        for path in inside.difference(_modules(source)):
            for factor in layout.factors:
                if len(factor.dims) == 1:
                    flow.given.append(Site(path, node.name, len(factor.grid), factor.grid, 0))


def _modules(node: fx.Node) -> set[str]:
    return {str(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values()}


MISFITS = (AssertionError, ValueError, IndexError, KeyError, TypeError, AttributeError, RuntimeError)
"""What a rule may raise on a form of its operator that it was not written for."""


def _fixed(node: fx.Node) -> Any:
    return pytree.tree_map(_whole, node.meta.get("val"))


def _whole(value: Any) -> Any:
    return Layout(tuple(value.shape)) if isinstance(value, torch.Tensor) else value


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
    outcome = _fixed(node)
    if rule is None:
        return _left_whole(flow, arguments, outcome, "has no pruning rule")
    try:
        result = rule(flow, Call(node, arguments))
    except MISFITS:
        return _left_whole(flow, arguments, outcome, "is used in a way that its pruning rule does not know")
    if not _fits(node, result):
        return _left_whole(flow, arguments, outcome, "is used in a way that its pruning rule does not know")
    if isinstance(result, Layout):
        result = flow.normalized(result)
        _write_back(flow, node, values, result)
    return result


def _fits(node: fx.Node, result: Any) -> bool:
    """Whether a rule's result has the shape of the operator's."""
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        return isinstance(result, Layout) and result.shape == tuple(value.shape)
    if isinstance(value, list | tuple):
        return isinstance(result, list) and len(result) == len(value)
    return True


def _write_back(flow: Flow, node: fx.Node, values: dict[fx.Node, Any], result: Layout) -> None:
    """Let later readers of a tensor that this node wrote in place see what it holds now, also through a view of it."""
    schema = getattr(node.target, "_schema", None)
    written = [
        source
        for argument, source in zip(schema.arguments if schema else (), node.args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write and isinstance(source, fx.Node)
    ]
    for source in written:
        before, values[source] = values[source], result
        if not isinstance(before, Layout) or not before.uniform:
            continue  # what was live was united with what is written
        base = _viewed(source)
        while base is not None:
            flow.freeze(result, "writes into a part of a tensor")
            if isinstance(values[base], Layout):
                values[base] = Layout(values[base].shape, values[base].factors)
            base = _viewed(base)


def _viewed(node: fx.Node) -> fx.Node | None:
    """Return the tensor that a node gives a view of, if it gives one."""
    returns = getattr(getattr(node.target, "_schema", None), "returns", ())
    aliases = [each.alias_info for each in returns if each.alias_info is not None]
    source = node.args[0] if aliases and node.args else None
    return source if isinstance(source, fx.Node) else None


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


def _left_whole(flow: Flow, arguments: dict[str, Any], outcome: Any, why: str) -> Any:
    """Fail closed: what an operator touches stays whole when nothing proves what it does with it."""
    for layout in _layouts(list(arguments.values())):
        flow.freeze(layout, why)
    return outcome
