"""A model on disk: the user's own class by name, the recipe of the cut, and safetensors. Never a pickle.

A bundle is a folder::

    bundle.json            what it is: entry point, its arguments, counts, lineage, and the digest of every other file
    weights.safetensors    parameters and buffers of the model as it is now
    quantized.safetensors  those that its quantized file is made from; absent where that is made from the same
    recipe.json            which slices of which tensors were kept; absent for a dense model
    masks.safetensors      which single weights stay, a bit each; absent where none were masked
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import nn

from reprune import hashing, text_files
from reprune.errors import InputError, IntegrityError, first_line
from reprune.pruning import masks as sparsity
from reprune.pruning.bundle_allowlist import Allowlist
from reprune.pruning.masks import Masks
from reprune.pruning.model_factory import Factory, build, check, of_model
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import remembered, replay

__all__ = ["Description", "Factory", "build", "load", "load_weights", "masks_of", "recipe_of", "save", "verify"]

FORMAT = 1
DESCRIPTION = "bundle.json"
WEIGHTS = "weights.safetensors"
QUANTIZED = "quantized.safetensors"
RECIPE = "recipe.json"
MASKS = "masks.safetensors"
FILES = (DESCRIPTION, WEIGHTS, QUANTIZED, RECIPE, MASKS)


class Description(BaseModel):
    """The contents of ``bundle.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    model: str
    """Entry point that builds the dense model: ``module:callable``."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of the entry point."""
    parameters: int
    """Number of parameters, ties counted once."""
    lineage: dict[str, Any] = {}
    """Where it comes from: digests of data, code and parents, versions, seed, the training's history."""
    files: dict[str, str]
    """The sha256 of every other file of the bundle."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the description of a bundle.

        Raises:
            InputError: The folder is not a bundle that this version of reprune can read.
        """
        remedy = "Name a folder written by reprune.save."
        raw = text_files.read_json(folder / DESCRIPTION, name=f"{folder} is not a bundle: {DESCRIPTION}", remedy=remedy)
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != FORMAT:
            raise InputError(f"{folder} is not a bundle of format {FORMAT}: its format is {found!r:.40}.", remedy)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"{folder} is not a bundle: {place}: {first['msg']}.", remedy) from None


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    factory: str | None = None,
    arguments: dict[str, Any] | None = None,
    recipe: Recipe | None = None,
    masks: Masks | None = None,
    quantized: nn.Module | None = None,
    **lineage: Any,
) -> Description:
    """Write a model as a bundle, once it is certain that the bundle can be loaded.

    Args:
        model: The model as it is now, pruned or dense.
        folder: Created if need be; its bundle is replaced.
        factory: Entry point that builds the dense model; by default its class.
        arguments: Keyword arguments of the factory that JSON can hold: ``{"num_classes": 10}``. By default none, or the
            model's own ``config``, where its class is made of one (transformers).
        recipe: What was cut from the dense model; by default what the model remembers.
        masks: Which single weights stay; the others are zeroed when the bundle is loaded, and kept here as they are.
        quantized: The same model with the weights that its quantized file is to be made from, where those are others.
        **lineage: Anything JSON can hold about where the model comes from.

    Raises:
        InputError: The factory is not to be found, or what it builds, cut by the recipe, is not this model.
        PruningError: The masks are of another model.
    """
    folder = Path(folder)
    recipe = recipe if recipe is not None else remembered(model)
    made_by = of_model(model, factory, arguments)
    check(model, made_by, recipe)
    sparsity.check(model, masks or {})
    folder.mkdir(parents=True, exist_ok=True)
    written = [WEIGHTS]
    safetensors.torch.save_model(model, str(folder / WEIGHTS))
    for name in (RECIPE, MASKS, QUANTIZED):
        (folder / name).unlink(missing_ok=True)
    if quantized is not None:
        check(quantized, made_by, recipe)
        safetensors.torch.save_model(quantized, str(folder / QUANTIZED))
        written.append(QUANTIZED)
    if recipe is not None:
        recipe.save(folder / RECIPE)
        written.append(RECIPE)
    if masks is not None:
        sparsity.save(masks, folder / MASKS)
        written.append(MASKS)
    description = Description(
        model=made_by.entry_point,
        arguments=made_by.arguments,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        lineage=lineage,
        files={name: hashing.of_file(folder / name) for name in written},
    )
    (folder / DESCRIPTION).write_text(description.model_dump_json(indent=2))
    return description


def load(
    folder: str | Path, *, allow: Iterable[str] = (), factory: str | None = None, quantized: bool = False
) -> nn.Module:
    """Load a bundle: build the user's model, cut it by the recipe, and fill in the weights.

    The only code that runs is the entry point of the dense model, from this environment, never from the bundle or the
    working folder, and only if you allow it. The workloads that ship and the models of transformers always are allowed.

    Args:
        folder: The bundle.
        allow: Packages whose models the bundle may name (``my_project``), and entry points that it may name
            (``my_project.models:build``).
        factory: Entry point to use in place of the one that the bundle names.
        quantized: Whether to fill in the weights that the quantized file is made from, where those are others.

    Returns:
        The model in eval mode, in the precision that it was saved in, with the bundle's masks applied.

    Raises:
        IntegrityError: A file is missing or not what its digest says.
        InputError: The entry point is not allowed, is not to be found, or builds another model.
    """
    folder = Path(folder)
    description = Description.read(folder)
    verify(folder, description)
    allowed = Allowlist((factory,)) if factory else Allowlist.of(allow)
    key = "factory" if factory else f"{DESCRIPTION}: model"
    model = Factory(factory or description.model, description.arguments).build(key=key, allowed=allowed)
    if RECIPE in description.files:
        model = replay(model, Recipe.load(folder / RECIPE))
    weights = QUANTIZED if quantized and QUANTIZED in description.files else WEIGHTS
    load_weights(model, folder / weights, keep_types=False)
    if MASKS in description.files:
        sparsity.apply(model, sparsity.load(folder / MASKS))
    return model.eval()


def masks_of(folder: str | Path) -> Masks:
    """Return which single weights of a bundle's model stay: nothing where none were masked."""
    path = Path(folder) / MASKS
    return sparsity.load(path) if path.exists() else {}


def recipe_of(folder: str | Path) -> Recipe | None:
    """Return what was cut from a bundle's model, or None for a dense one."""
    path = Path(folder) / RECIPE
    return Recipe.load(path) if path.exists() else None


def verify(folder: Path, description: Description) -> None:
    """Raise IntegrityError unless every file of a bundle is what its digest says."""
    for name, expected in description.files.items():
        if Path(name).name != name:
            raise IntegrityError(f"{folder} names the file {name!r} outside itself.", "Do not use this bundle.")
        if not (folder / name).is_file():
            raise IntegrityError(f"{folder} lacks its file {name}.", "Fetch the bundle again.")
        found = hashing.of_file(folder / name)
        if found != expected:
            raise IntegrityError(
                f"{folder / name} is damaged: its sha256 is {found[:12]}…, the bundle says {expected[:12]}….",
                "Fetch the bundle again.",
            )


def load_weights(model: nn.Module, path: Path, *, keep_types: bool = True) -> None:
    """Fill a model's parameters and buffers from safetensors, or a ``state_dict`` read with ``weights_only=True``.

    Args:
        model: Filled in place.
        path: The file.
        keep_types: Whether tensors stay of the model's types, or become those of the file.

    Raises:
        InputError: The file is neither, or belongs to another model: every tensor that does not fit is named.
    """
    state = _read_state(path)
    expected = model.state_dict(keep_vars=True)
    problems = [f"{name} is missing" for name in expected if name not in state and not _tied(model, name, state)]
    problems += [f"{name} belongs to no tensor of the model" for name in state if name not in expected]
    problems += [
        f"{name} is {list(state[name].shape)}, the model has {list(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:12]) + (f"; and {len(problems) - 12} more" if len(problems) > 12 else "")
        raise InputError(f"{path} does not fit the model: {shown}.", "Give the weights of this very model class.")
    for name, tensor in expected.items() if not keep_types else ():
        if name in state and state[name].dtype != tensor.dtype:
            tensor.data = tensor.to(state[name].dtype)
    model.load_state_dict(state, strict=False)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"weights: there is no file {str(path)!r}.", "Name a .safetensors file or a saved state_dict.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights: {path} cannot be read: {error}.", "Write it again with safetensors.") from None
    except Exception as error:  # torch raises pickle's own errors here, of several unrelated types
        raise InputError(
            f"weights: {path} is no state_dict that can be read safely: {first_line(error)}",
            "Save it with safetensors.torch.save_model(model, 'weights.safetensors').",
        ) from None
    if not (isinstance(state, dict) and all(torch.is_tensor(value) for value in state.values())):
        raise InputError(
            f"weights: {path} holds a {type(state).__name__}, not a state_dict.", "Save model.state_dict() alone."
        )
    return state


def _tied(model: nn.Module, name: str, state: dict[str, torch.Tensor]) -> bool:
    """Whether a missing tensor shares its memory with one that is there."""
    tensors = model.state_dict(keep_vars=True)
    return any(tensors[other] is tensors[name] for other in state if other in tensors and other != name)
