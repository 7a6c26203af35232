"""Values of Python as JSON that every parser takes, and exactly those values again.

JSON has no infinities, no NaN, no tuples, and keys that are text. Here they are objects with one key::

    inf                  {"__float__": "Infinity"}, "-Infinity" or "NaN", as transformers writes them in its configs
    (3, 3)               {"__tuple__": [3, 3]}
    {0: "cat"}           {"__dict__": [[0, "cat"]]}, also for a dict whose only key is one of these three words
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from reprune.errors import InputError

FLOAT, TUPLE, DICT = "__float__", "__tuple__", "__dict__"
_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_REMEDY = "Write numbers, text, booleans, None, lists, tuples and dicts."


def encode(value: Any, name: str, *, remedy: str = _REMEDY) -> Any:
    """Return a value as JSON that `decode` makes the same value of.

    Args:
        value: Numbers, text, booleans, None, and lists, tuples and dicts of them. Subclasses of these types come back
            as the plain types.
        name: What holds the value, for messages.
        remedy: What to do if it cannot be written.

    Raises:
        InputError: Something in it is of another type, not Unicode, or too deep; the message has its key.
    """
    try:
        encoded = _encoded(value, name, remedy)
        json.loads(json.dumps(encoded, allow_nan=False))
    except RecursionError:
        problem = "it is nested too deeply, or holds itself"
        raise InputError(f"{name} cannot be written as JSON: {problem}.", remedy) from None
    except ValueError as error:  # an integer with more digits than Python reads
        raise InputError(f"{name} cannot be written as JSON: {error}.", remedy) from None
    return encoded


def decode(value: Any, name: str) -> Any:
    """Return the value that `encode` made JSON of.

    Raises:
        InputError: It is JSON that `encode` does not make.
    """
    if isinstance(value, list):
        return [decode(item, f"{name}[{place}]") for place, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    [tag, content] = next(iter(value.items())) if len(value) == 1 else ("", None)
    if tag not in (FLOAT, TUPLE, DICT):
        return {key: decode(item, f"{name}.{key}") for key, item in value.items()}
    if tag == FLOAT and isinstance(content, str) and content in _FLOATS:
        return _FLOATS[content]
    if tag == TUPLE and isinstance(content, list):
        return tuple(decode(content, name))
    if tag == DICT and isinstance(content, list) and all(isinstance(it, list) and len(it) == 2 for it in content):
        try:
            return dict(decode(content, name))
        except TypeError:  # a key that is a list or a dict
            pass
    raise InputError(f"{name} cannot be read: {tag} holds {content!r:.60}.", "Write the file again with reprune.")


def write(value: Any, name: str) -> str:
    """Return a value as the text of a JSON file; see `encode`."""
    return json.dumps(encode(value, name), indent=2, allow_nan=False) + "\n"


def _encoded(value: Any, name: str, remedy: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, str):
        _check_unicode(value, name, remedy)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_encoded(item, f"{name}[{place}]", remedy) for place, item in enumerate(value)]
        return {TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and not (len(value) == 1 and set(value) <= {FLOAT, TUPLE, DICT}):
            return dict(_pairs(value, name, remedy))
        return {DICT: [list(pair) for pair in _pairs(value, name, remedy)]}
    raise InputError(f"{name} cannot be written as JSON: {value!r:.60} is a {type(value).__name__}.", remedy)


def _pairs(value: dict[Any, Any], name: str, remedy: str) -> Iterator[tuple[Any, Any]]:
    for key, item in value.items():
        yield _encoded(key, f"a key of {name}", remedy), _encoded(item, f"{name}.{key}", remedy)


def _check_unicode(text: str, name: str, remedy: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name} cannot be written as JSON: {text!r:.60} is not Unicode.", remedy) from None
