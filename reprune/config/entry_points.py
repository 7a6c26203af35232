"""Finding the Python objects that a workload names, with an error for each way of not finding them."""

import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reprune.errors import InputError

_NAMED: set[str] = set()
"""Folders that workloads named as their code."""


def resolve(entry_point: str, *, key: str) -> Any:
    """Import ``module:attribute``.

    Args:
        entry_point: The name, as the workload gives it.
        key: The workload's key that names it, for messages.

    Raises:
        InputError: No such module, no such attribute, or the module fails while it is imported.
    """
    module_name, _, attribute = entry_point.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise InputError(
                f"{key}: there is no module {error.name!r} (from {entry_point!r}).",
                "Check the spelling; modules are looked for in the folder `code`, PYTHONPATH and the environment.",
            ) from None
        raise InputError(
            f"{key}: importing {module_name!r} failed: {error}.", f"Install {error.name!r} in this environment."
        ) from error
    except Exception as error:
        raise InputError(f"{key}: importing {module_name!r} failed: {describe(error)}.", "Mend the module.") from error
    if not hasattr(module, attribute):
        raise InputError(
            f"{key}: module {module_name!r} has no {attribute!r}.",
            f"It has {', '.join(n for n in vars(module) if not n.startswith('_'))[:200]}.",
        )
    return getattr(module, attribute)


def call(entry_point: str, *arguments: Any, key: str, keywords: Mapping[str, Any] | None = None) -> Any:
    """Import ``module:callable`` and call it; an error of its own is raised with its place in the user's code."""
    function = resolve(entry_point, key=key)
    if not callable(function):
        raise InputError(
            f"{key}: {entry_point!r} is a {type(function).__name__}, not a callable.", "Name a function or a class."
        )
    return invoke(function, *arguments, name=entry_point, key=key, keywords=keywords)


def invoke(function: Any, *arguments: Any, name: str, key: str, keywords: Mapping[str, Any] | None = None) -> Any:
    """Call a user's function; an error of its own becomes an InputError with its place in the user's code."""
    try:
        return function(*arguments, **(keywords or {}))
    except Exception as error:
        shown = ", ".join([*map(_short, arguments), *(f"{k}={_short(v)}" for k, v in (keywords or {}).items())])
        raise InputError(f"{key}: {name}({shown}) raised {describe(error)}.", "Mend the function.") from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def use_code(folder: str | None) -> None:
    """Make the workload's own folder the first place that entry points are imported from."""
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise InputError(
            f"code: there is no folder {folder!r}.", "Name the folder that holds the workload's Python modules."
        )
    _NAMED.add(os.path.realpath(folder))
    if folder not in sys.path:
        sys.path.insert(0, folder)


@contextmanager
def without_working_folder() -> Iterator[None]:
    """Import nothing from the working folder while entered, unless the user named that folder.

    A user names a folder by `use_code`, by ``PYTHONPATH``, by running a program that lies in it, or by installing a
    package from it. The entry that Python adds for ``python -c``, ``python -m`` and its prompt names none.
    """
    unnamed = _unnamed_entries()
    for place in reversed(unnamed):
        del sys.path[place]
    try:
        yield
    finally:
        for place, entry in unnamed.items():
            sys.path.insert(place, entry)


def _unnamed_entries() -> dict[int, str]:
    """Return the entries of ``sys.path`` that stand for the working folder and that Python added, by place."""
    found = {place: entry for place, entry in enumerate(sys.path) if entry == ""}
    here = os.path.realpath(os.getcwd())
    given = {os.path.realpath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    program = sys.modules.get("__main__")
    file = getattr(program, "__file__", None)
    by_name = getattr(program, "__spec__", None) is not None  # python -m
    if by_name and here not in _NAMED | given and not Path(file or "/").resolve().is_relative_to(here):
        found |= {place: entry for place, entry in enumerate(sys.path[:1]) if os.path.realpath(entry) == here}
    return dict(sorted(found.items()))


def describe(error: BaseException) -> str:
    """Return an exception as one line: its type, its message, and the last line of code it passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text}{place}"
