"""Text that people hand in as a file: UTF-8, JSON or YAML, read in one place; what is neither is one message."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from reprune.errors import InputError


def read(path: str | Path, *, name: str = "", remedy: str = "Name a text file.") -> str:
    """Return what a file says, in UTF-8.

    Args:
        path: The file.
        name: What to call it in messages; its path by default.
        remedy: What to do if it cannot be read.

    Raises:
        InputError: The file cannot be read, or is not text.
    """
    shown = name or str(path)
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown} cannot be read: it is not text ({_at(error)}).", remedy) from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}.", remedy) from None


def read_json(path: str | Path, *, name: str = "", remedy: str = "Name a JSON file.") -> Any:
    """Return the JSON in a file.

    Raises:
        InputError: The file cannot be read, or is not JSON.
    """
    return _parsed(json.loads, read(path, name=name, remedy=remedy), f"{name or path} cannot be read", remedy)


def read_yaml(path: str | Path, *, name: str = "", remedy: str = "Correct the line it names.") -> Any:
    """Return the YAML in a file, as `parse_yaml` takes it.

    Raises:
        InputError: The file cannot be read, or is not YAML.
    """
    return parse_yaml(read(path, name=name, remedy="Name a YAML file."), name or str(path), remedy=remedy)


def parse_yaml(text: str, name: str, *, remedy: str = "Correct the line it names.") -> Any:
    """Return YAML as the values of JSON, which is how it travels on.

    Booleans are ``true`` and ``false`` alone, as in YAML 1.2: YAML 1.1 also reads the words ``on``, ``off``, ``yes``
    and ``no`` as such, and dates as dates. Here they are words, and a key that takes a boolean takes these words too.

    Args:
        text: The YAML.
        name: Where it comes from, for messages.
        remedy: What to do if it is not YAML.

    Raises:
        InputError: It is not YAML, or holds what JSON cannot: dates, bytes, sets, or itself.
    """
    return _parsed(_json_of_yaml, text, f"{name} is not YAML", remedy)


def _parsed(parse: Callable[[str], Any], text: str, problem: str, remedy: str) -> Any:
    try:
        return parse(text)
    except RecursionError:
        raise InputError(f"{problem}: it is nested too deeply.", remedy) from None
    except Exception as error:  # PyYAML raises whatever its constructors run into: KeyError, ValueError, AttributeError
        said = str(error).strip() if isinstance(error, yaml.YAMLError | ValueError | TypeError) else repr(error)
        raise InputError(f"{problem}: {said}.", remedy) from None


def _json_of_yaml(text: str) -> Any:
    return json.loads(json.dumps(yaml.load(text, Loader=_Loader)))


def _at(error: UnicodeDecodeError) -> str:
    return f"byte {error.object[error.start]:#04x} at place {error.start} is not UTF-8"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the booleans of YAML 1.2, and dates as text."""


_BOOLEAN, _TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _TIMESTAMP)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
