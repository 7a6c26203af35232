"""What the arguments of a model may say: its shape, and never a file, a download or code."""

import re
from collections.abc import Iterator
from typing import Any

from reprune.errors import InputError

_FILES = frozenset(
    {"path", "paths", "file", "files", "filename", "dir", "directory", "folder", "url", "urls", "uri"}
    | {"repo", "repository", "checkpoint", "ckpt", "weights", "revision", "hub", "script"}
)
"""Words of the names of arguments whose text is a place."""
_DOWNLOADS = frozenset({"pretrained", "download", "trust"})
"""Words of the names of arguments that ask for more than a model when they are true."""
_PLACE = re.compile(r"[/\\]|^~|^\.\.|^(hf[-_]hub|local-dir|file|https?):", re.IGNORECASE)

_INFORMATION = frozenset({"id2label", "label2id", "task_specific_params", "_name_or_path", "name_or_path"})
"""Keys of a config that no model is built from."""
_ORIGINS = frozenset({"auto_map", "custom_pipelines", "_commit_hash"})
"""Keys of a config that say where code came from; they are left out."""
_KERNELS = re.compile(r"[/:@]|flash|kernel|paged", re.IGNORECASE)


def only_numbers(given: dict[str, Any], *, name: str, key: str) -> dict[str, Any]:
    """Return arguments that are numbers, booleans, nothing, or lists of those.

    Raises:
        InputError: One of them is something else.
    """
    for path, value in _leaves(given):
        if isinstance(value, str):
            raise InputError(
                f"{key}: {name!r} is given {path}={_short(value)}, and a layer of torch gets nothing but numbers.",
                "Name a class or function of your own that builds the model.",
            )
    return given


def check_plain(given: dict[str, Any], *, name: str, key: str) -> None:
    """Raise InputError if an argument names a file or asks for a download."""
    for path, value in _leaves(given):
        if _is_place(path, value):
            raise InputError(
                f"{key}: {name!r} is given {path}={_short(value)}, a file or a download, which no bundle may ask for.",
                f"If you trust it, allow it by its whole name: allow=[{name!r}], or --allow {name}.",
            )


def harmless_config(values: dict[str, Any], *, key: str) -> dict[str, Any]:
    """Return a config of transformers without what would fetch weights or code.

    Keys that say where code came from are left out, and weights of a backbone are not asked for: the bundle has its
    own.

    Raises:
        InputError: A key names code, a file or a download that the model could not be built without.
    """
    for path, value in (leaf for name in values if not isinstance(name, str) for leaf in _leaves(name)):
        if _is_place(path, value):
            _refuse("a key", value, "a file or a download", key, "Write a function of your own that builds the model.")
    return {name: _harmless(str(name), value, values, key) for name, value in values.items() if name not in _ORIGINS}


def _harmless(name: str, value: Any, beside: dict[str, Any], key: str) -> Any:
    if name in _INFORMATION:
        return value
    if name == "use_pretrained_backbone":
        return False
    if name.endswith(("_implementation", "_implementation_internal")) and _names_kernels(value):
        _refuse(
            name, value, "attention of a kernel that is fetched", key, "Save the model with eager or sdpa attention."
        )
    if name == "backbone" and isinstance(value, str) and beside.get("model_type") != "timm_backbone":
        _refuse(name, value, "a model that is looked up on a hub", key, "Save the model with its backbone_config.")
    if isinstance(value, dict):
        return harmless_config(value, key=key)
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_harmless(name, item, beside, key) for item in value)
    if _is_place(name, value):
        _refuse(name, value, "a file or a download", key, "Write a function of your own that builds the model.")
    return value


def _names_kernels(value: Any) -> bool:
    return any(isinstance(leaf, str) and _KERNELS.search(leaf) for _, leaf in _leaves({"": value}))


def _refuse(name: str, value: Any, what: str, key: str, remedy: str) -> None:
    raise InputError(f"{key}: its config has {name}={_short(value)}, {what}, which no bundle may ask for.", remedy)


def _is_place(path: str, value: Any) -> bool:
    """Whether a value names a file or a download, by its text or by the name of its argument."""
    words = set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path).lower()))
    if isinstance(value, str):
        return bool(_PLACE.search(value)) or (bool(value) and bool(words & (_FILES | _DOWNLOADS)))
    asked = bool(words & _DOWNLOADS) if isinstance(value, bool) else words <= _DOWNLOADS
    return value in (True, 1) and asked


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values within arguments, keys that are no text among them, each with its path."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                yield from _leaves(name, path)
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
