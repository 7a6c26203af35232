"""A model on disk: the user's own class by name, the recipe of the cut, and safetensors. Never a pickle.

A bundle is a folder::

    bundle.json            what it is: entry point, task, counts, lineage, and the digest of every other file
    weights.safetensors    parameters and buffers of the model as it is now
    recipe.json            which slices of which tensors were kept; absent for a dense model
"""

import json
import sys
from pathlib import Path
from typing import Any, Self

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import nn

from reprune import digest, entrypoints
from reprune.errors import InputError, IntegrityError
from reprune.pruning.recipe import Recipe

FORMAT = 1
DESCRIPTION = "bundle.json"
WEIGHTS = "weights.safetensors"
RECIPE = "recipe.json"
FILES = (DESCRIPTION, WEIGHTS, RECIPE)


class Description(BaseModel):
    """The contents of ``bundle.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    model: str
    """Entry point that builds the dense model: ``module:callable``."""
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
            IntegrityError: The folder is not a bundle that this version of reprune can read.
        """
        try:
            raw = json.loads((folder / DESCRIPTION).read_text())
            found = raw.get("format")
            if found != FORMAT:
                raise IntegrityError(f"{folder} has bundle format {found!r}, not {FORMAT}.", "Upgrade reprune.")
            return cls.model_validate(raw)
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, ValidationError) as error:
            problem = str(error).splitlines()[0]
            raise IntegrityError(
                f"{folder} is not a bundle: {problem}.", "Name a folder written by reprune.save."
            ) from None


def save(
    model: nn.Module, folder: str | Path, *, factory: str | None = None, recipe: Recipe | None = None, **lineage: Any
) -> Description:
    """Write a model as a bundle.

    Args:
        model: The model as it is now, pruned or dense.
        folder: Created if need be; its bundle is replaced.
        factory: Entry point that builds the dense model; by default its class, which then takes no arguments.
        recipe: What was cut from the dense model.
        **lineage: Anything JSON can hold about where the model comes from.

    Raises:
        InputError: The model's class cannot be found again by name.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = [WEIGHTS]
    safetensors.torch.save_model(model, str(folder / WEIGHTS))
    if recipe is None:
        (folder / RECIPE).unlink(missing_ok=True)
    else:
        recipe.save(folder / RECIPE)
        written.append(RECIPE)
    description = Description(
        model=factory or _class_of(model),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        lineage=lineage,
        files={name: digest.of_file(folder / name) for name in written},
    )
    (folder / DESCRIPTION).write_text(description.model_dump_json(indent=2))
    return description


def load(folder: str | Path, *, factory: str | None = None) -> nn.Module:
    """Load a bundle: build the user's model, cut it by the recipe, and fill in the weights.

    The only code that runs is the entry point of the dense model, from this environment, never from the bundle. Name it
    yourself as ``factory`` when the bundle comes from a stranger.

    Args:
        folder: The bundle.
        factory: Entry point to use in place of the one that the bundle names.

    Returns:
        The model in eval mode.

    Raises:
        IntegrityError: A file is missing or not what its digest says.
        InputError: The entry point is not to be found, or builds another model.
    """
    folder = Path(folder)
    description = Description.read(folder)
    verify(folder, description)
    model = build(factory or description.model, key="model")
    if RECIPE in description.files:
        from reprune.pruning.surgery import replay

        model = replay(model, Recipe.load(folder / RECIPE))
    load_weights(model, folder / WEIGHTS)
    return model.eval()


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
        found = digest.of_file(folder / name)
        if found != expected:
            raise IntegrityError(
                f"{folder / name} is damaged: its sha256 is {found[:12]}…, the bundle says {expected[:12]}….",
                "Fetch the bundle again.",
            )


def build(entry_point: str, *, key: str) -> nn.Module:
    """Build the user's dense model.

    Raises:
        InputError: The entry point is not to be found, fails, or returns something else than a module.
    """
    root = entry_point.partition(".")[0].partition(":")[0]
    if root in sys.stdlib_module_names or root == "builtins":
        raise InputError(
            f"{key}: {entry_point!r} is in Python's standard library, which holds no models.", "Name your own module."
        )
    model = entrypoints.call(entry_point, key=key)
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{key}: {entry_point}() returned a {type(model).__name__}, not a torch.nn.Module.",
            "Return the model itself.",
        )
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model's parameters and buffers from safetensors, or a ``state_dict`` read with ``weights_only=True``.

    Raises:
        InputError: The file is neither, or belongs to another model: every tensor that does not fit is named.
    """
    state = _read_state(path)
    expected = model.state_dict()
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
            f"weights: {path} is no state_dict that can be read safely: {str(error).splitlines()[0]}",
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


def _class_of(model: nn.Module) -> str:
    kind = type(model)
    if "<locals>" in kind.__qualname__ or "." in kind.__qualname__ or kind.__module__ == "__main__":
        raise InputError(
            f"The class {kind.__qualname__} of {kind.__module__} cannot be imported again by name.",
            "Pass factory='my_project.models:build', a callable that builds the dense model.",
        )
    return f"{kind.__module__}:{kind.__qualname__}"
