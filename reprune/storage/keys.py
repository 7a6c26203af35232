"""Names in the store. They come from outside (workload files, manifests, command lines), so each is checked."""

import re

from reprune.errors import InputError

MAX_KEY = 700
"""S3 ends at 1,024 bytes; the rest is left to the prefix of the store."""

MAX_SEGMENT = 200
"""Most file systems end at 255 bytes; the rest is left to the names of temporary files."""

_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9 ._=+@,()~-]*[A-Za-z0-9_=+@()~-])?")
_REMEDY = (
    "Use letters, digits and ._=+@,()~- in a name, start it with a letter, a digit or _, and separate names by one /."
)


def is_key(key: str) -> bool:
    """Return whether a name may be used in a store."""
    segments = key.split("/")
    return len(key) <= MAX_KEY and all(len(part) <= MAX_SEGMENT and _SEGMENT.fullmatch(part) for part in segments)


def check_key(key: str) -> None:
    """Refuse a name that could leave the store or be read differently elsewhere.

    Raises:
        InputError: The name is empty, absolute, climbs (``..``), is hidden, too long, or has a character out of bounds.
    """
    if not is_key(key):
        raise InputError(f"{_shown(key)} cannot be a name in a store.", _REMEDY)


def check_prefix(prefix: str) -> None:
    """Refuse the beginning of a name that no name can begin with; the empty prefix is the whole store.

    Raises:
        InputError: No key can begin like this.
    """
    whole, _, partial = prefix.rpartition("/")
    stem = partial.rstrip(" .,")  # a name must not end in these, the beginning of a name may
    if any(part and not is_key(part) for part in (whole, stem)) or prefix.startswith("/") or (partial and not stem):
        raise InputError(f"{_shown(prefix)} cannot begin a name in a store.", _REMEDY)


def _shown(key: str) -> str:
    return repr(key if len(key) <= 100 else f"{key[:100]}…")
