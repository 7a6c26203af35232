"""Refit the surviving weights of a cut model in closed form: least squares on a few hundred examples, no gradient.

Each layer that lost inputs is solved, in order of execution, to give what the dense layer gave, from what the cut model
feeds it now. The reconstruction is OSSCAR's (Meng et al. 2024, arXiv:2403.12983), damped towards the weights as cut.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprune.errors import InputError
from reprune.pruning.graph.capture import as_call, evaluating, tensors_of
from reprune.pruning.recipe import Recipe

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


@dataclass
class Normal:
    """The normal equations of one layer: ``gram`` of its inputs, and ``cross`` with the outputs it should give."""

    gram: Tensor
    cross: Tensor
    rows: int = 0

    def add(self, inputs: Tensor, wanted: Tensor) -> None:
        """Take in examples: inputs ``[N, D]``, wanted outputs ``[N, O]``."""
        self.gram += inputs.T @ inputs
        self.cross += inputs.T @ wanted
        self.rows += len(inputs)

    def solve(self, weight: Tensor, damping: float) -> Tensor:
        """Return the weights ``[D, O]`` of least squares, damped towards those given."""
        strength = damping * float(self.gram.diagonal().mean()) + 1e-12
        damped = self.gram + strength * torch.eye(len(self.gram), dtype=self.gram.dtype)
        return torch.linalg.solve(damped, self.cross + strength * weight)


@torch.no_grad()
def refit(
    dense: nn.Module, pruned: nn.Module, recipe: Recipe, batches: Iterable[Any], damping: float = 1e-3
) -> tuple[str, ...]:
    """Refit every layer of a cut model that lost inputs, in place.

    Linear layers and ungrouped, zero-padded 1-D and 2-D convolutions are refitted. Each costs one run of both models
    over the batches.

    Args:
        dense: The model before the cut.
        pruned: The model after it; its weights are changed.
        recipe: The cut.
        batches: Model inputs, each a tensor, a tuple of arguments, or a dict of keyword arguments.
        damping: Weight of staying near the cut weights, relative to the mean squared input.

    Returns:
        The names of the weights that were refitted, in order.

    Raises:
        InputError: There are no batches.
    """
    held = list(batches)
    if not held:
        raise InputError("refit needs at least one batch.", "Pass a few hundred examples of the training data.")
    refitted = []
    for path in _in_order(pruned, _candidates(pruned, recipe), held[0]):
        layer = pruned.get_submodule(path)
        assert isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
        kept = next((cut.kept for cut in recipe.slices[f"{path}.weight"] if cut.dim == 0), None)
        normal = _observe(dense, pruned, path, kept, held)
        _assign(layer, normal.solve(_matrix(layer), damping))
        refitted.append(f"{path}.weight")
    return tuple(refitted)


def _candidates(pruned: nn.Module, recipe: Recipe) -> list[str]:
    """Return the layers that lost inputs and whose weight is theirs alone."""
    users: dict[int, int] = {}
    for module in pruned.modules():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    known = tensors_of(pruned)
    return [
        path
        for path, module in pruned.named_modules()
        if _is_supported(module)
        and f"{path}.weight" in known
        and users[id(module.weight)] == 1
        and any(cut.dim == 1 for cut in recipe.slices.get(f"{path}.weight", ()))
    ]


def _is_supported(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return isinstance(module, nn.Linear)


def _in_order(model: nn.Module, paths: Sequence[str], batch: Any) -> list[str]:
    """Return layers in the order in which they run; those that run more than once, or never, are left out."""
    met: list[str] = []
    handles = [model.get_submodule(path).register_forward_pre_hook(_noting(met, path)) for path in paths]
    _run(model, batch, handles)
    return [path for path in met if met.count(path) == 1]


def _noting(met: list[str], path: str) -> Callable[..., None]:
    return lambda *_: met.append(path)


def _observe(
    dense: nn.Module, pruned: nn.Module, path: str, kept: Sequence[int] | None, batches: Sequence[Any]
) -> Normal:
    layer = pruned.get_submodule(path)
    assert isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
    start = _matrix(layer)
    normal = Normal(start.new_zeros(len(start), len(start)), torch.zeros_like(start))
    seen: dict[str, Tensor] = {}

    def wanted(_: nn.Module, __: Any, output: Tensor) -> None:
        rows = _rows(output, isinstance(layer, nn.Linear))
        seen["wanted"] = rows if kept is None else rows[:, list(kept)]

    def given(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen["given"] = _patches(layer, args[0])

    for batch in batches:
        _run(dense, batch, [dense.get_submodule(path).register_forward_hook(wanted)])
        _run(pruned, batch, [layer.register_forward_pre_hook(given)])
        normal.add(seen["given"], seen["wanted"])
    return normal


def _run(model: nn.Module, batch: Any, handles: Sequence[Any]) -> None:
    args, kwargs = as_call(batch)
    try:
        with evaluating(model):
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()


def _rows(output: Tensor, last: bool) -> Tensor:
    """Return one row a position, float64: ``[..., O]`` of a linear layer, ``[N, O, ...]`` of a convolution."""
    return (output if last else output.movedim(1, -1)).flatten(0, -2).double().cpu()


def _patches(layer: Layer, x: Tensor) -> Tensor:
    """Return what each output position reads, with a one for the bias: ``[positions, D (+ 1)]``."""
    if isinstance(layer, nn.Linear):
        rows = x.flatten(0, -2)
    else:
        flat = (1,) if isinstance(layer, nn.Conv1d) else ()
        sizes = [flat + tuple(int(n) for n in each) for each in (layer.kernel_size, layer.dilation, layer.stride)]
        padding = (0,) * len(flat) + tuple(int(n) for n in layer.padding)
        columns = F.unfold(x.unsqueeze(2) if flat else x, sizes[0], sizes[1], padding, sizes[2])
        rows = columns.movedim(1, -1).flatten(0, 1)
    rows = rows.double().cpu()
    return rows if layer.bias is None else torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


def _matrix(layer: Layer) -> Tensor:
    """Return the weights, and the bias as a last row: ``[D (+ 1), O]``, float64."""
    weight = layer.weight.detach().flatten(1).T.double().cpu()
    return weight if layer.bias is None else torch.cat([weight, layer.bias.detach().double().cpu()[None]])


def _assign(layer: Layer, solution: Tensor) -> None:
    if layer.bias is not None:
        layer.bias.copy_(solution[-1])
        solution = solution[:-1]
    layer.weight.copy_(solution.T.reshape(layer.weight.shape))
