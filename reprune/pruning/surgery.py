"""Make the model that a recipe describes: a copy of the user's own module with smaller tensors."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from reprune.errors import PruningError
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.capture import tensors_of
from reprune.pruning.graph.module_attributes import attribute_edits
from reprune.pruning.recipe import Recipe, Slice
from reprune.pruning.sliced_tensor import Sliced, selected

MEMORY = "_reprune_recipe"
"""Attribute of a cut model that holds its recipe from the dense model, as JSON: plain text copies, pickles and exports
with the model, where reprune is not installed too."""


LARGE = 2**16
"""Elements of a parameter from which on a preview does not copy it."""


class Skip(nn.Module):
    """What stands in for a residual block that was taken out: it passes its first argument through."""

    def forward(self, x: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        """Return the first argument."""
        return x


def recipe_for(model: nn.Module, analysis: Analysis, removed: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Recipe:
    """Write down a cut.

    Args:
        model: The model that the analysis is of.
        analysis: Its groups.
        removed: Which cells go, over all groups, shape ``[cells]``.
    """
    kept: dict[str, dict[int, np.ndarray[Any, np.dtype[np.bool_]]]] = {}
    offsets = analysis.offsets
    for group in analysis.groups:
        gone = np.flatnonzero(removed[offsets[group.name] : offsets[group.name] + group.width])
        for member in group.members if len(gone) else ():
            dims = kept.setdefault(member.tensor, {})
            size = analysis.shapes[member.tensor][member.dim]
            dims.setdefault(member.dim, np.ones(size, dtype=bool))[member.indices[gone]] = False
    cut = {
        name: tuple(Slice(dim=dim, kept=tuple(np.flatnonzero(which).tolist())) for dim, which in sorted(dims.items()))
        for name, dims in sorted(kept.items())
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}
    return Recipe(slices=cut, attributes=attribute_edits(model, analysis, cut, removed), shapes=shapes)


def apply(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Return a cut copy of a model; ties between tensors are kept, and no tensor is copied before it is cut."""
    values = {
        name: selected(tensor.detach(), recipe.slices[name]) if name in recipe.slices else tensor.detach().clone()
        for name, tensor in tensors_of(model).items()
    }
    return _with(model, recipe, values)


def preview(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Return what `apply` would, to be run without gradients and thrown away: it takes hardly any memory.

    It shares whole parameters with the model, and large cut ones are cut anew by every operator that reads them.
    """
    values = {}
    for name, tensor in tensors_of(model).items():
        cuts = recipe.slices.get(name, ())
        if isinstance(tensor, nn.Parameter) and tensor.numel() >= LARGE:
            values[name] = Sliced(tensor.detach(), cuts) if cuts else tensor.detach()
        else:
            values[name] = selected(tensor.detach(), cuts) if cuts else tensor.detach().clone()
    return _with(model, recipe, values)


def _with(model: nn.Module, recipe: Recipe, values: dict[str, torch.Tensor]) -> nn.Module:
    memo: dict[int, object] = {}
    for name, tensor in tensors_of(model).items():
        value = values[name]
        memo[id(tensor)] = (
            nn.Parameter(value, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
        )
    pruned = copy.deepcopy(model, memo)
    _keep_true(pruned, recipe)
    return pruned


def _keep_true(model: nn.Module, recipe: Recipe) -> None:
    """Make what a model says and does fit its tensors, which are cut already."""
    for edit in recipe.attributes:
        setattr(model.get_submodule(edit.module), edit.attribute, edit.after)
    for path in recipe.dropped:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, Skip())
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def shrink(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Cut a model itself, one tensor after the other: the same object and parameters, without gradients."""
    for name, tensor in tensors_of(model).items():
        if name in recipe.slices:
            smaller = selected(tensor.detach(), recipe.slices[name])
            tensor.grad = None
            if tensor.requires_grad:  # torch forgets the old size, which a loss still held fixes, only with the type
                tensor.data = tensor.new_empty(0, dtype=torch.complex64)
            tensor.data = smaller
    _keep_true(model, recipe)
    return model


def remember(pruned: nn.Module, recipe: Recipe) -> nn.Module:
    """Let a cut copy remember how it came from the dense model, by way of the cuts that the model had already."""
    before = remembered(pruned)
    try:
        whole = recipe if before is None else before.then(recipe)
    except PruningError:  # somebody rebuilt the model after its first cut, so no recipe leads here from a dense one
        vars(pruned).pop(MEMORY)
    else:
        vars(pruned)[MEMORY] = whole.to_json()
    return pruned


def remembered(model: nn.Module) -> Recipe | None:
    """Return the recipe that makes a model from the dense one, if it was cut."""
    text = vars(model).get(MEMORY)
    return None if text is None else Recipe.from_json(text)


def replay(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Make the cut that a recipe describes on a fresh model of the same class, with its own weights.

    Args:
        model: A dense model; it is left as it is.
        recipe: A cut of a model of the same class.

    Returns:
        The cut copy, in the model's own mode.

    Raises:
        PruningError: The model is another architecture: every tensor that does not fit is named.
    """
    found = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}
    problems = [f"{name} is missing" for name in recipe.shapes if name not in found]
    problems += [f"{name} is new" for name in found if name not in recipe.shapes]
    problems += [
        f"{name} is {list(found[name])}, the recipe expects {list(shape)}"
        for name, shape in recipe.shapes.items()
        if name in found and found[name] != shape
    ]
    paths = dict(model.named_modules())
    problems += [f"{path} is missing" for path in recipe.dropped if path not in paths]
    for edit in recipe.attributes:
        if edit.module in paths:
            value = getattr(model.get_submodule(edit.module), edit.attribute, None)
            if _plain(value) != edit.before:
                problems.append(f"{edit.module}.{edit.attribute} is {value!r}, the recipe expects {edit.before!r}")
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise PruningError(
            f"The recipe is of another architecture: {shown}.", "Replay it on the dense model class it was made from."
        )
    return remember(apply(model, recipe), recipe)


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple | torch.Size) else value
