"""The ATen graph of a model, with every parameter and buffer under the name the user knows it by."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from reprune.errors import PruningError


@dataclass(frozen=True, eq=False)
class Capture:
    """An exported graph and what its placeholders are."""

    module: fx.GraphModule
    tensors: dict[str, str]
    """Placeholder → name of the parameter or buffer. Tied tensors have one name."""
    constants: dict[str, Any]
    """Placeholder → a constant that the graph carries."""
    inputs: list[str]
    """Placeholders of the model's inputs, in the order of their leaves."""
    results: list[fx.Node]
    """The nodes that the model returns."""
    training: "Capture | None" = None
    """The graph of training mode, where that uses tensors that eval mode does not."""

    def idle(self) -> set[str]:
        """Return the tensors that the graph does not use."""
        used = {
            self.tensors.get(node.name) for node in self.module.graph.nodes if node.op == "placeholder" and node.users
        }
        return set(self.tensors.values()) - used


def as_call(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return example inputs as positional and keyword arguments: a tensor, a tuple of arguments, or a dict."""
    if isinstance(example_inputs, dict):
        return (), dict(example_inputs)
    if isinstance(example_inputs, tuple | list):
        return tuple(example_inputs), {}
    return (example_inputs,), {}


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return every parameter and buffer once, by its first name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


class evaluating:  # noqa: N801  # a context manager, written like one
    """Run a model in eval (or training) mode, without gradient and fused fast paths, and put every mode back."""

    def __init__(self, model: nn.Module, training: bool = False) -> None:
        self.model = model
        self.wanted = training

    def __enter__(self) -> nn.Module:
        self.training = [(module, module.training) for module in self.model.modules()]
        self.fastpath = torch.backends.mha.get_fastpath_enabled()
        self.gradient = torch.is_grad_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        torch.set_grad_enabled(False)
        return self.model.train(self.wanted)

    def __exit__(self, *_: object) -> None:
        torch.set_grad_enabled(self.gradient)
        torch.backends.mha.set_fastpath_enabled(self.fastpath)
        for module, training in self.training:
            module.training = training


def capture(model: nn.Module, example_inputs: Any, training: bool = False) -> Capture:
    """Export a model as it is in eval mode, or in training mode, which changes running statistics.

    Raises:
        PruningError: The model refuses its example inputs, or cannot be exported; with torch's own reason.
    """
    args, kwargs = as_call(example_inputs)
    with evaluating(model, training):
        try:
            exported = torch.export.export(model, args, kwargs, strict=False)
        except Exception as error:
            refused(model, example_inputs)
            foreign = "not a known type" in str(error)
            raise PruningError(
                f"The model cannot be exported: {_first_line(error)}",
                "Let forward return tensors, or tuples and dicts of them (use_cache=False in transformers)."
                if foreign
                else "Take data-dependent Python (if on values, .item(), numpy) out of forward; see torch.export.",
            ) from error
    graph_module = exported.graph_module
    names = {id(tensor): name for name, tensor in tensors_of(model).items()}
    tensors, constants, inputs = {}, {}, []
    for spec in exported.graph_signature.input_specs:
        placeholder = spec.arg.name
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            tensors[placeholder] = names[id(_lookup(model, str(spec.target)))]
        elif spec.kind == InputKind.USER_INPUT:
            inputs.append(placeholder)
        elif isinstance(spec.arg, ConstantArgument):
            constants[placeholder] = spec.arg.value
        else:
            constants[placeholder] = exported.constants[str(spec.target)]
    output = next(node for node in graph_module.graph.nodes if node.op == "output")
    specs = exported.graph_signature.output_specs
    results = [
        node
        for node, spec in zip(output.args[0], specs, strict=True)
        if spec.kind == OutputKind.USER_OUTPUT and isinstance(node, fx.Node)
    ]
    captured = Capture(graph_module, tensors, constants, inputs, results)
    _give_sizes(captured, model, example_inputs, training)
    return captured


class _Sizing(fx.Interpreter):
    """Run a graph, and note at each node what came out in place of what export knew of it."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        n.meta["val"] = pytree.tree_map_only(torch.Tensor, lambda x: torch.empty_like(x, device="meta"), value)
        return value


def _give_sizes(captured: Capture, model: nn.Module, example_inputs: Any, training: bool) -> None:
    """Let sizes that depend on values, such as of what a boolean mask selects, be those of the example inputs."""
    sizes = (
        size
        for node in captured.module.graph.nodes
        for value in pytree.tree_leaves(node.meta.get("val"))
        for size in (value.shape if isinstance(value, torch.Tensor) else (value,))
    )
    if not any(isinstance(size, torch.SymInt | torch.SymBool | torch.SymFloat) for size in sizes):
        return
    with evaluating(model, training):
        _Sizing(captured.module).run(*fed(captured, model, example_inputs))


def fed(captured: Capture, model: nn.Module, example_inputs: Any) -> list[Any]:
    """Return what a captured graph runs on: tensors of the model, and copies of what it may write into."""
    tensors = tensors_of(model)
    parameters = {p for p, name in captured.tensors.items() if isinstance(tensors[name], nn.Parameter)}
    inputs = iter(leaves(example_inputs))
    feed = []
    for node in captured.module.graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in captured.tensors:
            tensor = tensors[captured.tensors[node.name]].detach()
            feed.append(tensor if node.name in parameters else tensor.clone())
        elif node.name in captured.constants:
            feed.append(captured.constants[node.name])
        else:
            value = next(inputs)
            feed.append(value.clone() if isinstance(value, torch.Tensor) else value)
    return feed


def refused(model: nn.Module, example_inputs: Any) -> None:
    """Run a model once, to tell wrong inputs from whatever else may have failed.

    Raises:
        PruningError: The model refuses its example inputs.
    """
    args, kwargs = as_call(example_inputs)
    try:
        with evaluating(model):
            model(*args, **kwargs)
    except Exception as error:
        raise PruningError(
            f"The model refuses its example inputs: {_first_line(error)}",
            "Give a tensor, a tuple of positional arguments, or a dict of keyword arguments that forward accepts.",
        ) from error


def _lookup(model: nn.Module, name: str) -> torch.Tensor:
    path, _, attribute = name.rpartition(".")
    tensor = getattr(model.get_submodule(path), attribute)
    assert isinstance(tensor, torch.Tensor)
    return tensor


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def leaves(example_inputs: Any) -> list[Any]:
    """Return the leaves of a call's arguments, in the order of the graph's inputs."""
    return pytree.tree_leaves(as_call(example_inputs))
