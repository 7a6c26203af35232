"""How a dense model is built again: an entry point and arguments that JSON can hold, proven before they are written."""

import inspect
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from reprune import strict_json
from reprune.config import entry_points
from reprune.errors import InputError, RepruneError
from reprune.pruning.bundle_allowlist import Allowlist
from reprune.pruning.recipe import Recipe
from reprune.pruning.surgery import replay

PASS_FACTORY = "Pass factory='my_project.models:build', and arguments={...} of it where it takes any."
Plain = bool | int | float | str | None


@dataclass(frozen=True)
class Factory:
    """An entry point and its keyword arguments."""

    entry_point: str
    """``module:callable``."""
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self, *, key: str = "model", allowed: Allowlist | None = None) -> nn.Module:
        """Build the dense model.

        A class that names its ``config_class``, as those of transformers do, gets its ``config`` made from a dict.
        Modules are looked for everywhere but in the working folder.

        Args:
            key: The key that names the entry point, for messages.
            allowed: The entry points that the caller allows; by default this very one, which the caller names.

        Raises:
            InputError: The entry point is not allowed, is not to be found, fails, or returns something else than a
                module.
        """
        allowed = Allowlist((self.entry_point,)) if allowed is None else allowed
        with entry_points.without_working_folder():
            function, arguments = allowed.resolve(self.entry_point, self.arguments, key=key)
            model = entry_points.invoke(function, name=self.entry_point, key=key, keywords=arguments)
        if not isinstance(model, nn.Module):
            raise InputError(
                f"{key}: {self.entry_point}() returned a {type(model).__name__}, not a torch.nn.Module.",
                "Return the model itself.",
            )
        return model


def build(entry_point: str, *, key: str) -> nn.Module:
    """Build a dense model from an entry point without arguments; see `Factory.build`."""
    return Factory(entry_point).build(key=key)


def of_model(model: nn.Module, entry_point: str | None, arguments: dict[str, Any] | None) -> Factory:
    """Return the factory of a model: what the user named, or its own class.

    Raises:
        InputError: The class cannot be imported by name, or an argument cannot be written as JSON.
    """
    if entry_point is None:
        entry_point = _class_of(model)
        if arguments is None and getattr(type(model), "config_class", None) is not None:
            arguments = {"config": model.config.to_dict()}  # type: ignore[operator, union-attr]
    remedy = "Pass numbers, text, lists, tuples and dicts; the factory can be a function of your own that makes others."
    written = strict_json.encode(arguments or {}, "arguments", remedy=remedy)
    return Factory(entry_point, strict_json.decode(written, "arguments"))


def _class_of(model: nn.Module) -> str:
    kind = type(model)
    if "<locals>" in kind.__qualname__ or "." in kind.__qualname__ or kind.__module__ == "__main__":
        raise InputError(
            f"The class {kind.__qualname__} of {kind.__module__} cannot be imported again by name.", PASS_FACTORY
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def check(model: nn.Module, factory: Factory, recipe: Recipe | None) -> None:
    """Build the model again, cut it, and compare, so that no bundle is written that cannot be loaded.

    No memory is taken where the factory can build on the meta device.

    Raises:
        InputError: The factory fails, or builds another model.
    """
    again = _rebuilt(model, factory)
    if recipe is not None:
        try:
            again = replay(again, recipe)
        except RepruneError as error:
            raise InputError(
                f"{factory.entry_point} does not build the dense model that this one was cut from: {error.message}",
                f"{PASS_FACTORY}{signature(factory)}",
            ) from None
    problems = _differences(model, again)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        cut = "" if recipe is not None else " Nothing is known of a cut; pass recipe= if there was one."
        raise InputError(
            f"{factory.entry_point} builds another model than the one to save: {shown}.{cut}",
            f"{PASS_FACTORY}{signature(factory)}",
        )
    for text in _settings(model, again):
        warnings.warn(f"{factory.entry_point} builds the model with {text}; pass arguments={{...}}", stacklevel=3)


def _rebuilt(model: nn.Module, factory: Factory) -> nn.Module:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights copied to the meta device
        try:
            with torch.device("meta"):
                return factory.build(key="factory")
        except RepruneError:
            pass  # it reads values while it builds, or it fails anyway
        try:
            return factory.build(key="factory")
        except InputError as error:
            raise InputError(error.message, f"{PASS_FACTORY}{signature(factory)}") from error.__cause__


def signature(factory: Factory) -> str:
    """Return what a factory takes, for messages; nothing if that is unknown."""
    try:
        function = entry_points.resolve(factory.entry_point, key="factory")
        names = [f"{parameter}" for parameter in inspect.signature(function).parameters.values()]
    except (RepruneError, TypeError, ValueError):
        return ""
    name = factory.entry_point.partition(":")[2]
    return f" {name} takes ({', '.join(names)})." if names else ""


def _differences(model: nn.Module, again: nn.Module) -> list[str]:
    """Return in what two models differ: their tensors and their modules."""
    wanted, found = _shapes(model), _shapes(again)
    problems = [f"it lacks {name}" for name in wanted if name not in found]
    problems += [f"it has {name} besides" for name in found if name not in wanted]
    problems += [
        f"{name} is {list(found[name])} and not {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    theirs = dict(again.named_modules())
    for path, module in model.named_modules() if not problems else ():
        other = theirs.get(path)
        if _shown(other) != _shown(module):
            problems.append(f"{path or 'the model'} is {_shown(other)} and not {_shown(module)}")
    return problems


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors; its state may hold something else, which no file of tensors takes."""
    return {name: tuple(value.shape) for name, value in model.state_dict().items() if torch.is_tensor(value)}


def _shown(module: nn.Module | None) -> str:
    return "absent" if module is None else f"{type(module).__name__}({module.extra_repr()})"


def _settings(model: nn.Module, again: nn.Module) -> list[str]:
    """Return the plain attributes of the user's modules that a rebuilt model has otherwise."""
    theirs = dict(again.named_modules())
    told = []
    for path, module in model.named_modules():
        other = vars(theirs[path])
        for name, value in vars(module).items():
            if name.startswith("_") or name == "training" or not isinstance(value, Plain):
                continue
            if name in other and isinstance(other[name], Plain) and other[name] != value:
                told.append(f"{f'{path}.{name}'.removeprefix('.')} = {other[name]!r}, where it is {value!r} now")
    return told
