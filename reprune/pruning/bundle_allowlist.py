"""Which entry points a bundle may build its model with: decided by the loader, on names before anything is imported."""

import functools
import sys
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from torch import nn

from reprune.config import entry_points
from reprune.config.workload import ENTRY_POINT
from reprune.errors import InputError
from reprune.pruning import constructor_arguments

SHIPPED = "reprune.workloads"
"""The package of the workloads that come with reprune, which every loader allows."""

LAYERS = "torch.nn.modules"
"""The package in which torch defines its layers, the only classes of its own that a bundle may name."""

LONGEST = 200
"""Characters of an entry point."""

_NO_MODELS = frozenset({"builtins", "numpy", *sys.stdlib_module_names})
_MADE_OF_CODE = ("torch.fx", "torch.jit", "torch.package", "torch.export")


@dataclass(frozen=True)
class Allowlist:
    """What a loader lets a bundle build.

    Attributes:
        names: Packages or modules (``my_project``), and exact entry points (``my_project.models:build``).
    """

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, allow: Iterable[str]) -> Self:
        """Return the allowlist of a loader.

        Raises:
            InputError: One of the names is neither a package nor an entry point.
        """
        names = (allow,) if isinstance(allow, str) else tuple(allow)
        for name in names:
            if not (isinstance(name, str) and ENTRY_POINT.match(name if ":" in name else f"{name}:it")):
                raise InputError(
                    f"allow: {_shown(name)} is neither a package nor an entry point.",
                    "Write it like my_project, or my_project.models:build.",
                )
        return cls(names)

    def check(self, entry_point: str, *, key: str) -> None:
        """Decide on an entry point by its name alone; nothing is imported.

        Args:
            entry_point: ``module:callable``.
            key: The key that names it, for messages.

        Raises:
            InputError: The loader does not allow it, or it is of a kind that no loader can allow.
        """
        if not isinstance(entry_point, str) or len(entry_point) > LONGEST or not ENTRY_POINT.match(entry_point):
            raise InputError(
                f"{key}: {_shown(entry_point)} is not an entry point.", "Name it like my_project.models:build."
            )
        module, root = entry_point.partition(":")[0], entry_point.partition(":")[0].partition(".")[0]
        if root in _NO_MODELS:
            where = "NumPy" if root == "numpy" else "Python's standard library"
            raise InputError(
                f"{key}: {entry_point!r} is in {where}, which holds no models.", "Name a class or function of your own."
            )
        if root == "torch" and not _is_below(module, "torch.nn"):
            _refuse_of_torch(entry_point, key)
        if root == "reprune" and not _is_below(module, SHIPPED):
            raise InputError(
                f"{key}: {entry_point!r} is a part of reprune, which builds no models outside {SHIPPED}.",
                "Name a class or function of your own.",
            )
        if entry_point in self.names or root == "transformers":
            return
        if not self._covers(module):
            self._refuse(entry_point, key)
        private = [part for part in entry_point.replace(":", ".").split(".") if part.startswith("_")]
        if private:
            raise InputError(
                f"{key}: {entry_point!r} is private ({private[0]}), which allowing a package does not allow.",
                f"If you trust it, allow it by its whole name: allow=[{entry_point!r}], or --allow {entry_point}.",
            )

    def resolve(self, entry_point: str, given: dict[str, Any], *, key: str) -> tuple[Any, dict[str, Any]]:
        """Import an allowed entry point; returns its callable, and the arguments that it may be called with.

        Args:
            entry_point: ``module:callable``.
            given: Keyword arguments, as the bundle has them.
            key: The key that names it, for messages.

        Raises:
            InputError: It is not allowed, is not to be found, is no class or function that builds models, or the
                arguments ask for more than a model's shape.
        """
        self.check(entry_point, key=key)
        found = entry_points.resolve(entry_point, key=key)
        if not callable(found):
            raise InputError(
                f"{key}: {entry_point!r} is a {type(found).__name__}, not a callable.", "Name a function or a class."
            )
        if isinstance(found, nn.Module):
            raise InputError(
                f"{key}: {entry_point!r} is a model already, not what builds one.", "Name its class, or a function."
            )
        origin = _origin(found)
        self._admit(entry_point, found, origin, key)
        if _is_below(origin, "torch"):
            return found, constructor_arguments.only_numbers(given, name=entry_point, key=key)
        configured = isinstance(given.get("config"), dict) and getattr(found, "config_class", None) is not None
        if _is_below(origin, "transformers") and isinstance(found, type):
            if not configured or len(given) > 1:
                raise InputError(
                    f"{key}: {entry_point!r} is built from its config alone, and it is given "
                    f"{', '.join(given) or 'nothing'}.",
                    "Save it with reprune.save, which keeps the model's own config.",
                )
        elif given and not _builds_modules(found):
            raise InputError(
                f"{key}: {entry_point!r} does not say that it builds a model, so it is given no arguments.",
                "Name a class of models, or annotate the function: def build(...) -> torch.nn.Module.",
            )
        elif entry_point not in self.names:
            others = {name: value for name, value in given.items() if not (configured and name == "config")}
            constructor_arguments.check_plain(others, name=entry_point, key=key)
        return found, given | {"config": _config(found, given["config"], key)} if configured else given

    def resolve_data(self, entry_point: str, *, key: str) -> Any:
        """Import a function that loads data: of a shipped workload, or one that the loader names exactly.

        Raises:
            InputError: It is neither, or is not to be found.
        """
        if entry_point not in self.names and not Allowlist()._covers(str(entry_point).partition(":")[0]):
            raise InputError(
                f"{key}: {_shown(entry_point)} is not allowed to load data here.",
                f"If you trust it, allow it by its whole name: allow=[{_shown(entry_point)}], or --allow; "
                "or give the shape of the inputs: --input input=1x3x224x224.",
            )
        self.check(entry_point, key=key)
        found = entry_points.resolve(entry_point, key=key)
        if entry_point not in self.names and not (
            isinstance(found, types.FunctionType) and _is_below(_origin(found), SHIPPED)
        ):
            raise InputError(f"{key}: {entry_point!r} is no function of a shipped workload.", "Name one that is.")
        return found

    def _admit(self, entry_point: str, found: Any, origin: str, key: str) -> None:
        """Raise InputError unless this very object may be called."""
        is_class = isinstance(found, type)
        if is_class and any(_is_below(base.__module__, code) for base in found.__mro__ for code in _MADE_OF_CODE):
            raise InputError(
                f"{key}: {entry_point!r} is a model that is made of code, and a bundle brings none.",
                "Name the class that it was made from.",
            )
        if _is_below(origin, "torch") and not (_is_module(found) and _is_below(origin, LAYERS)):
            _refuse_of_torch(entry_point, key)
        if origin.partition(".")[0] in _NO_MODELS:
            self._refuse(entry_point, key, f" is really of {origin} and")
        if _is_below(entry_point.partition(":")[0], "transformers"):
            if not (_is_transformer(found) and _is_below(origin, "transformers.models")):
                raise InputError(
                    f"{key}: {entry_point!r} is no class of models of transformers; its functions are never called.",
                    "Save the model itself with reprune.save, which names its class and keeps its config.",
                )
            return
        if entry_point in self.names:
            return
        if not self._covers(origin):
            self._refuse(entry_point, key, f" is really of {origin or 'nowhere'} and")
        if not _is_module(found) and not (isinstance(found, types.FunctionType) and _builds_modules(found)):
            raise InputError(
                f"{key}: {entry_point!r} is neither a subclass of torch.nn.Module nor a function annotated to return "
                "one, which is all that allowing a package allows.",
                f"If you trust it, allow it by its whole name: allow=[{entry_point!r}], or --allow {entry_point}.",
            )

    def _covers(self, module: str) -> bool:
        return any(_is_below(module, name) for name in (SHIPPED, *self.names))

    def _refuse(self, entry_point: str, key: str, why: str = "") -> NoReturn:
        module = entry_point.partition(":")[0]
        root = module.partition(".")[0] if not _is_below(module, "torch") else "torch.nn"
        raise InputError(
            f"{key}: {entry_point!r}{why} is not allowed to build a model here.",
            f"If you trust it, pass allow=[{root!r}] for the models of that package, or allow=[{entry_point!r}] for "
            f"this one alone; on the command line, --allow {root}.",
        )


def _config(found: Any, values: dict[str, Any], key: str) -> Any:
    """Return a model's config made from a dict by its own class, as those of transformers are."""
    made_by = found.config_class
    if _is_transformer(found):
        values = constructor_arguments.harmless_config(values, key=key)
    return entry_points.invoke(made_by.from_dict, values, name=f"{made_by.__name__}.from_dict", key=key)


def _builds_modules(found: Any) -> bool:
    """Whether a callable is a class of modules, or annotated to return one."""
    if isinstance(found, type):
        return _is_module(found)
    try:
        returned = typing.get_type_hints(found).get("return")
    except (NameError, TypeError):
        return False
    return _is_module(returned)


def _is_module(found: Any) -> bool:
    return isinstance(found, type) and nn.Module in found.__mro__


def _is_transformer(found: Any) -> bool:
    bases = found.__mro__ if isinstance(found, type) else ()
    return any((base.__module__, base.__name__) == ("transformers.modeling_utils", "PreTrainedModel") for base in bases)


def _origin(found: Any) -> str:
    """Return the module that defines a callable, whatever module it was named in."""
    while isinstance(found, functools.partial):
        found = found.func
    module = getattr(found, "__module__", None)
    return module if isinstance(module, str) else ""


def _is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _refuse_of_torch(entry_point: str, key: str) -> NoReturn:
    raise InputError(
        f"{key}: {entry_point!r} is of torch, of which no bundle may name anything but the layers of torch.nn.",
        "Name a class or function of your own that builds the model.",
    )


def _shown(name: Any) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
