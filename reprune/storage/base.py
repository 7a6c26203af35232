"""What every store can do."""

import builtins
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reprune import hashing
from reprune.errors import InputError, IntegrityError, StoreError

_M = TypeVar("_M", bound=BaseModel)


class NotFoundError(StoreError):
    """The store has nothing by this name."""


@dataclass(frozen=True)
class Entry:
    """What was read, and the token that names this very state of it for a conditional write."""

    data: bytes
    token: str


class Store(ABC):
    """Named bytes. Every write is whole or absent, and never seen half.

    A key is a path of names, as in ``runs/digits/2026-11-21/train.json``. No key may be a folder of another one.

    Attributes:
        uri: Where it is: an absolute path or ``s3://bucket/prefix``.
    """

    uri: str

    @abstractmethod
    def entry(self, key: str) -> Entry:
        """Read bytes and their token.

        Raises:
            NotFoundError: There is nothing by this name.
        """

    @abstractmethod
    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> None:
        """Write bytes, atomically and durably.

        Args:
            key: The name.
            data: The bytes.
            if_absent: Write only where there is nothing by this name yet.
            if_match: Write only over the state that this token names.

        Raises:
            ConflictError: The condition does not hold; nothing was written.
            StoreError: The store cannot be written, or does not keep conditions.
        """

    def put_pieces(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """Write pieces of memory as if they were joined, atomically and durably.

        Raises:
            StoreError: The store cannot be written.
        """
        self.put(key, b"".join(pieces))

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether there is something by this name."""

    @abstractmethod
    def modified(self, key: str) -> datetime:
        """Return when a key was last written, in UTC.

        Raises:
            NotFoundError: There is nothing by this name.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in the order of their bytes, the keys that begin with a prefix."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error."""

    @abstractmethod
    def upload(self, path: Path, key: str) -> str:
        """Write a file of any size, in pieces, atomically; returns the sha256 of what was written."""

    @abstractmethod
    def check(self, *, write: bool = False) -> None:
        """Find out now whether the store can be used, and sweep up what killed writers left behind long ago.

        Args:
            write: Whether it will be written, too.

        Raises:
            StoreError: It cannot be reached, read or written; the remedy says what to do.
        """

    @abstractmethod
    def check_conditional_writes(self) -> None:
        """Prove that the store keeps the conditions of `put`, once a process, by trying them; leaves nothing behind.

        Raises:
            StoreError: It ignores or lacks them, so that two promotions could both believe that they won.
        """

    @abstractmethod
    def _fetch(self, key: str, path: Path) -> None:
        """Write the contents of a key to a new file."""

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Read bytes.

        Args:
            key: The name.
            sha256: What their digest must be.

        Raises:
            NotFoundError: There is nothing by this name.
            IntegrityError: They are not what the digest says.
        """
        data = self.entry(key).data
        if sha256 is not None:
            self._verify(key, hashing.of_bytes(data), sha256)
        return data

    def get_json(self, key: str) -> Any:
        """Read a JSON value.

        Raises:
            NotFoundError: There is nothing by this name.
            IntegrityError: It is no JSON.
        """
        try:
            return json.loads(self.get(key))
        except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, or brackets without end
            raise IntegrityError(
                f"{self.uri}/{key} is damaged: it is no JSON ({error}).", "Restore it from a backup."
            ) from None

    def get_model(self, key: str, kind: type[_M]) -> _M:
        """Read a JSON value as a model.

        Raises:
            NotFoundError: There is nothing by this name.
            IntegrityError: It is not one of this kind.
        """
        try:
            return kind.model_validate_json(self.get(key))
        except ValidationError as error:
            raise IntegrityError(
                f"{self.uri}/{key} is damaged: it is no {kind.__name__} ({error.errors()[0]['msg']}).",
                "Delete it, or restore it from a backup.",
            ) from None

    def put_json(self, key: str, value: Any) -> None:
        """Write a JSON value for people and machines to read."""
        self.put(key, json.dumps(value, indent=2, allow_nan=False).encode())

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Write the contents of a key to a file, in pieces; the file is whole, and what the digest says, or absent.

        Args:
            key: The name.
            path: The file; its folder is created if need be, a file that is there is replaced.
            sha256: What the digest must be.

        Raises:
            NotFoundError: There is nothing by this name.
            IntegrityError: It is not what the digest says.
        """
        partial = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(key, partial)
            if sha256 is not None:
                self._verify(key, hashing.of_file(partial), sha256)
            partial.replace(path)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}.", "Name another folder, or make room."
            ) from None
        finally:
            partial.unlink(missing_ok=True)

    def _verify(self, key: str, found: str, expected: str) -> None:
        if found != expected:
            raise IntegrityError(
                f"{self.uri}/{key} is damaged: its sha256 is {found}, expected {expected}.",
                "Do not use it. Restore it from a backup, or write it again.",
            )

    def _missing(self, key: str) -> NotFoundError:
        return NotFoundError(f"{self.uri} has no {key!r}.", "Check the name and the store.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"


def files_below(folder: Path) -> builtins.list[str]:
    """Return the paths of all files below a folder, in order, with forward slashes.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r}.", "Name a folder with files.")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
