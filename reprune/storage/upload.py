"""Local files on their way into a store."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from reprune.errors import InputError


class Hashing:
    """A stream that hashes what is read from it, so that a digest is of what was sent, not of what was there before.

    Args:
        file: The file; it is read once, from the start.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the sha256 of all that was read."""
        return self._hash.hexdigest()


def readable(path: Path) -> BinaryIO:
    """Open a local file.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Name a file that this user can read.") from None
