"""Depth pruning: take whole residual blocks out, so that what they were given passes through."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprune.errors import InputError, PruningError
from reprune.pruning import surgery, verify
from reprune.pruning.graph.capture import as_call, evaluating, tensors_of
from reprune.pruning.recipe import Recipe


@dataclass(frozen=True)
class Block:
    """A module that adds something to what it is given, and can be left out."""

    name: str
    """Its path."""
    parameters: int


@dataclass
class _Seen:
    """One call of a module."""

    calls: int = 0
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] | None = None
    output: Any = None


@torch.no_grad()
def blocks(model: nn.Module, example_inputs: Any) -> tuple[Block, ...]:
    """Find the residual blocks of a model, in order, by what they do and not by their names.

    A block runs once, and with all its parameters at zero it returns its first argument: ``x + f(x)``, or
    ``relu(x + f(x))`` after another relu. Of nested ones, the innermost. A block that normalises its sum is none.

    Args:
        model: Left as it is.
        example_inputs: A tensor, a tuple of positional arguments, or a dict of keyword arguments.
    """
    found = [
        path
        for path, seen in _watch(model, example_inputs).items()
        if seen.calls == 1 and _is_residual(model.get_submodule(path), seen)
    ]
    innermost = [path for path in found if not any(other.startswith(f"{path}.") for other in found)]
    sizes = {path: sum(p.numel() for p in model.get_submodule(path).parameters()) for path in innermost}
    return tuple(Block(path, sizes[path]) for path in innermost)


def _watch(model: nn.Module, inputs: Any) -> dict[str, _Seen]:
    """Run a model and note how each module with parameters was called."""
    seen: dict[str, _Seen] = {}

    def noting(path: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            seen.setdefault(path, _Seen())
            seen[path] = _Seen(seen[path].calls + 1, args, kwargs, output)

        return hook

    watched = [
        (path, module) for path, module in model.named_modules() if path and any(True for _ in module.parameters())
    ]
    handles = [module.register_forward_hook(noting(path), with_kwargs=True) for path, module in watched]
    args, kwargs = as_call(inputs)
    try:
        with evaluating(model):
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return {path: seen[path] for path, _ in watched if path in seen}


def _is_residual(module: nn.Module, seen: _Seen) -> bool:
    x = seen.arguments[0] if seen.arguments else None
    if not (isinstance(x, Tensor) and isinstance(seen.output, Tensor) and x.shape == seen.output.shape):
        return False
    silent = copy.deepcopy(module)
    for parameter in silent.parameters():
        parameter.zero_()
    with evaluating(silent):
        output = silent(*seen.arguments, **(seen.keywords or {}))
    return isinstance(output, Tensor) and verify.difference([x], [output]) is None


@torch.no_grad()
def influence(model: nn.Module, example_inputs: Any, batches: Iterable[Any]) -> dict[str, float]:
    """Score each block by how much it turns what it is given: one minus the mean cosine of input and output.

    Block influence of ShortGPT (Men et al. 2024, arXiv:2403.03853). The lowest goes first.

    Args:
        model: Left as it is.
        example_inputs: To find the blocks with.
        batches: Model inputs.

    Raises:
        InputError: There are no batches.
    """
    names = [block.name for block in blocks(model, example_inputs)]
    sums, count = dict.fromkeys(names, 0.0), 0
    for batch in batches:
        count += 1
        seen = _watch(model, batch)
        for name in names:
            x, y = seen[name].arguments[0].flatten(1), seen[name].output.flatten(1)
            sums[name] += 1 - float(F.cosine_similarity(x, y).mean())
    if not count:
        raise InputError("influence needs at least one batch.", "Pass a few hundred examples.")
    return {name: value / count for name, value in sums.items()}


def drop(model: nn.Module, example_inputs: Any, names: Sequence[str]) -> tuple[nn.Module, Recipe]:
    """Take residual blocks out of a copy of a model, and prove the copy against the model with those blocks at zero.

    Args:
        model: Left as it is.
        example_inputs: A tensor, a tuple of positional arguments, or a dict of keyword arguments.
        names: Paths of blocks, from `blocks`.

    Returns:
        The shallower model and its recipe.

    Raises:
        PruningError: A name is no residual block, or the proof fails.
    """
    known = [block.name for block in blocks(model, example_inputs)]
    for name in names:
        if name not in known:
            raise PruningError(f"{name!r} is no residual block.", f"The blocks are {', '.join(known[:5]) or 'none'}.")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}
    recipe = Recipe(dropped=tuple(names), shapes=shapes)
    pruned = surgery.apply(model, recipe)
    problem = verify.difference(verify.run(_silenced(model, names), example_inputs), verify.run(pruned, example_inputs))
    if problem is not None:
        raise PruningError(f"Without its blocks the model is another function: {problem}.", "Keep them.")
    return surgery.remember(pruned, recipe), recipe


@torch.no_grad()
def _silenced(model: nn.Module, names: Sequence[str]) -> nn.Module:
    silent = copy.deepcopy(model)
    for name in names:
        for parameter in silent.get_submodule(name).parameters():
            parameter.zero_()
    return silent
