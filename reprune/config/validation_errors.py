"""What is wrong with a workload file, in words: every offending key, its value and the remedy."""

import difflib
import reprlib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reprune.errors import InputError

_M = TypeVar("_M", bound=BaseModel)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200


def validated(kind: type[_M], raw: Any, *, origin: str) -> _M:
    """Validate the contents of a file.

    Args:
        kind: What it should be.
        raw: The parsed YAML or JSON.
        origin: Where it comes from, for messages.

    Raises:
        InputError: Naming every offending key, its value and the remedy.
    """
    if not isinstance(raw, dict):
        raise InputError(f"{origin} is not a workload: it holds no keys.", "`reprune init` writes one to start from.")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(kind, item) for item in error.errors()]
        raise InputError(
            f"{origin} is not a valid workload:\n" + "\n".join(f"  - {line}" for line in lines),
            "`reprune schema` prints every key; docs/bring-your-own-model.md explains them.",
        ) from None


def _explain(kind: type[BaseModel], item: Any) -> str:
    """Turn one pydantic error into a line that names the key, the value and the remedy."""
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] == "extra_forbidden":
        guess = difflib.get_close_matches(path[-1], _keys(kind, path[:-1]), n=1)
        return f"{key} is not a key" + (
            f"; did you mean {guess[0]}?" if guess else f" of {'.'.join(path[:-1]) or 'a workload'}."
        )
    if item["type"] == "missing":
        return f"{key} is missing."
    message = item["msg"].removeprefix("Value error, ")
    given = "" if isinstance(item["input"], dict) else f"{_SHORT.repr(item['input'])} "
    return f"{key}: {given}{message[0].lower()}{message[1:]}"


def _keys(kind: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys of the section at a path."""
    model: Any = kind
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        model = next(
            (m for m in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(m, "model_fields")),
            model,
        )
    return list(model.model_fields)
