"""A model on disk: the user's own class by name, the recipe of the cut, and safetensors. Never a pickle.

A bundle is a folder::

    bundle.json            what it is: entry point, its arguments, counts, lineage, and the digest of every other file
    weights.safetensors    parameters and buffers of the model as it is now
    quantized.safetensors  those that its quantized file is made from; absent where that is made from the same
    recipe.json            which slices of which tensors were kept; absent for a dense model
    masks.safetensors      which single weights stay, a bit each; absent where none were masked
    buffers.safetensors    buffers that the state_dict leaves out; absent if the entry point builds the very same

``bundle.json`` is strict JSON; `reprune.strict_json` says how it holds infinities, NaN and tuples.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import nn

from reprune import hashing, strict_json, text_files
from reprune.config import entry_points
from reprune.errors import InputError, IntegrityError, RepruneError, StoreError, first_line
from reprune.pruning import bundle_proof, tensor_files
from reprune.pruning import masks as sparsity
from reprune.pruning.bundle_allowlist import Allowlist
from reprune.pruning.masks import Masks
from reprune.pruning.model_factory import PASS_FACTORY, Factory, build, check, of_model, signature
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import remembered, replay
from reprune.storage.staged_folder import finish, staged

__all__ = ["Description", "Factory", "build", "load", "load_weights", "masks_of", "recipe_of", "save", "verify"]

FORMAT = 1
DESCRIPTION = "bundle.json"
WEIGHTS = "weights.safetensors"
QUANTIZED = "quantized.safetensors"
RECIPE = "recipe.json"
MASKS = "masks.safetensors"
BUFFERS = "buffers.safetensors"
FILES = (DESCRIPTION, WEIGHTS, QUANTIZED, RECIPE, MASKS, BUFFERS)


class Description(BaseModel):
    """The contents of ``bundle.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

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
        folder = _whole(folder)
        raw = text_files.read_json(folder / DESCRIPTION, name=f"{folder} is not a bundle: {DESCRIPTION}", remedy=remedy)
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != FORMAT:
            raise InputError(f"{folder} is not a bundle of format {FORMAT}: its format is {found!r:.40}.", remedy)
        exact = {name: strict_json.decode(raw.get(name, {}), f"{folder / DESCRIPTION}: {name}") for name in _EXACT}
        try:
            return cls.model_validate(raw | exact)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"{folder} is not a bundle: {place}: {first['msg']}.", remedy) from None

    def text(self) -> str:
        """Return what `read` reads."""
        return strict_json.write(self.model_dump(mode="json") | {"arguments": self.arguments}, DESCRIPTION)


_EXACT = ("arguments", "lineage")
"""Keys of ``bundle.json`` whose values JSON may not hold as they are."""


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    factory: str | None = None,
    arguments: dict[str, Any] | None = None,
    recipe: Recipe | None = None,
    masks: Masks | None = None,
    quantized: nn.Module | None = None,
    inputs: Any = None,
    **lineage: Any,
) -> Description:
    """Write a model as a bundle, and prove that it loads as this very model before it is put in its place.

    If it does not, the folder stays as it was: empty, absent, or with the whole bundle that it had. So it does if the
    process is killed.

    Args:
        model: The model as it is now, pruned or dense.
        folder: Created if need be; its bundle is replaced.
        factory: Entry point that builds the dense model; by default its class.
        arguments: Keyword arguments of the factory: numbers, text, lists, tuples and dicts, such as
            ``{"num_classes": 10}``. By default none, or the model's own ``config``, where its class is made of one
            (transformers).
        recipe: What was cut from the dense model; by default what the model remembers.
        masks: Which single weights stay; the others are zeroed when the bundle is loaded, and kept here as they are.
        quantized: The same model with the weights that its quantized file is to be made from, where those are others.
        inputs: An example input; if given, the loaded model must answer on it as this one does.
        **lineage: Anything JSON can hold about where the model comes from.

    Raises:
        InputError: The factory is not to be found, or what it builds, cut by the recipe and filled with the weights, is
            not this model; or something in the arguments or the weights cannot be kept.
        PruningError: The masks are of another model.
        StoreError: The folder cannot be written.
    """
    folder, masks_or_none = Path(folder), masks or {}
    recipe = recipe if recipe is not None else remembered(model)
    made_by = of_model(model, factory, arguments)
    for other in (model, quantized):
        if other is not None:
            check(other, made_by, recipe)
    sparsity.check(model, masks_or_none)
    with staged(folder, index=DESCRIPTION, names=FILES) as place:
        tensor_files.write_state(model, place / WEIGHTS)
        if quantized is not None:
            tensor_files.write_state(quantized, place / QUANTIZED)
        if recipe is not None:
            recipe.save(place / RECIPE)
        if masks is not None:
            sparsity.save(masks, place / MASKS)
        description = _describe(model, place, made_by, lineage)
        loaded = _loaded(place, folder, made_by)
        if buffers := bundle_proof.other_buffers(model, loaded):
            tensor_files.write_buffers(buffers, place / BUFFERS)
            description = _describe(model, place, made_by, lineage)
            loaded = _loaded(place, folder, made_by)
        words = {"name": made_by.entry_point, "remedy": f"{PASS_FACTORY}{signature(made_by)}"}
        bundle_proof.check_same(model, loaded, masks_or_none, inputs, **words)
        if quantized is not None:
            bundle_proof.check_same(
                quantized, _loaded(place, folder, made_by, quantized=True), masks_or_none, inputs, **words
            )
    return description


def _describe(model: nn.Module, place: Path, made_by: Factory, lineage: dict[str, Any]) -> Description:
    """Write ``bundle.json`` beside the files that it describes."""
    description = Description(
        model=made_by.entry_point,
        arguments=made_by.arguments,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        lineage=lineage,
        files={
            name: hashing.of_file(place / name) for name in FILES if name != DESCRIPTION and (place / name).exists()
        },
    )
    (place / DESCRIPTION).write_text(description.text())
    return description


def _loaded(place: Path, folder: Path, made_by: Factory, *, quantized: bool = False) -> nn.Module:
    """Load a bundle that was just written, as its user will."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same as when the factory was checked
        try:
            return load(place, allow=[made_by.entry_point], quantized=quantized)
        except Exception as error:  # whatever the user's model raises while it is filled
            message = error.message if isinstance(error, RepruneError) else f"{entry_points.describe(error)}."
            remedy = error.remedy if isinstance(error, RepruneError) and error.remedy else PASS_FACTORY
            raise InputError(
                f"{folder} was not written, for it could not be loaded: {message.replace(str(place), str(folder))}",
                f"{remedy}{signature(made_by)}",
            ) from error


def _whole(folder: str | Path) -> Path:
    """Return a bundle's folder; if its writer was killed while it replaced the files, the rest of them is replaced."""
    folder = Path(folder)
    try:
        finish(folder, index=DESCRIPTION, names=FILES)
    except OSError as error:
        raise StoreError(
            f"{folder} was being replaced when its writer was killed, and cannot be written now: {error.strerror}.",
            "Load it once where it can be written.",
        ) from None
    return folder


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
    if BUFFERS in description.files:
        tensor_files.fill_buffers(model, folder / BUFFERS)
    if MASKS in description.files:
        sparsity.apply(model, sparsity.load(folder / MASKS))
    return model.eval()


def masks_of(folder: str | Path) -> Masks:
    """Return which single weights of a bundle's model stay: nothing where none were masked."""
    path = _whole(folder) / MASKS
    return sparsity.load(path) if path.exists() else {}


def recipe_of(folder: str | Path) -> Recipe | None:
    """Return what was cut from a bundle's model, or None for a dense one."""
    path = _whole(folder) / RECIPE
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
