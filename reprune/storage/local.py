"""A store in a folder, shared by any number of processes: POSIX renames for atomicity, one file lock for conditions."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from reprune import hashing
from reprune.errors import ConflictError, StoreError
from reprune.storage import keys
from reprune.storage.base import Entry, Store
from reprune.storage.upload import Hashing, readable

LOCK = ".lock"
TEMPORARY = ".tmp-"
STALE_SECONDS = 3600
"""A temporary file untouched for this long belongs to a writer that was killed."""


class FolderStore(Store):
    """A store in a folder.

    A write goes to a temporary file beside its target, is flushed to disk and then renamed, so that neither ``kill -9``
    nor a power cut leaves half of one. Conditions are checked and the rename is done under one lock of the operating
    system (``flock``), which a dead process cannot keep.

    Args:
        root: The folder; it is created by the first write.

    Raises:
        StoreError: The path is a file.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))
        self.uri = str(self._root)
        if self._root.exists() and not self._root.is_dir():
            raise StoreError(f"The store {self.uri} is a file.", "Name a folder, or move the file away.")

    def entry(self, key: str) -> Entry:
        """Read bytes; the token is their sha256."""
        path = self._path(key)
        with self._explained(key, reading=True), self._opened(key, path) as file:
            data = file.read()
        return Entry(data, hashing.of_bytes(data))

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> None:
        """Write bytes atomically, on a condition if one is given."""
        self._write(key, [data], if_absent=if_absent, if_match=if_match)

    def put_pieces(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """Write pieces one after the other, without a copy of all of them."""
        self._write(key, pieces)

    def upload(self, path: Path, key: str) -> str:
        """Copy a file in pieces."""
        with readable(path) as file:
            content = Hashing(file)
            self._write(key, iter(lambda: content.read(hashing.CHUNK), b""))
        return content.hexdigest()

    def exists(self, key: str) -> bool:
        """Return whether there is a file by this name."""
        path = self._path(key)
        with self._explained(key):
            return path.is_file()

    def modified(self, key: str) -> datetime:
        """Return when the file was last written."""
        path = self._path(key)
        with self._explained(key, reading=True):
            if path.is_dir():
                raise IsADirectoryError
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix; hidden files (the lock, temporary files) are none."""
        keys.check_prefix(prefix)
        found = []
        with self._explained(prefix):
            for folder, names, files in os.walk(self._root / prefix.rpartition("/")[0], onerror=_unless_missing):
                names[:] = [name for name in names if not name.startswith(".")]
                parent = Path(folder).relative_to(self._root)
                found += [(parent / name).as_posix() for name in files]
        yield from sorted(key for key in found if key.startswith(prefix) and keys.is_key(key))

    def delete(self, key: str) -> None:
        """Remove a file; its folder stays."""
        path = self._path(key)
        with self._explained(key):
            if path.exists():
                with self._locked():
                    path.unlink(missing_ok=True)

    def check(self, *, write: bool = False) -> None:
        """Try the folder, and sweep up temporary files that nobody writes any more."""
        with self._explained():
            if self._root.exists():
                os.listdir(self._root)
            if not write:
                return
            with self._temporary(self._root) as probe:
                probe.write_bytes(b"reprune")
                now = probe.stat().st_mtime  # by the file system's clock, as the files that it is compared with
            self._sweep(now)

    def check_conditional_writes(self) -> None:
        """Try the lock; some network file systems have none."""
        with self._explained():
            self._root.mkdir(parents=True, exist_ok=True)
            with self._locked():
                pass

    def _fetch(self, key: str, path: Path) -> None:
        source = self._path(key)
        with self._explained(key, reading=True):
            file = self._opened(key, source)
        with file, path.open("wb") as target:
            shutil.copyfileobj(file, target, hashing.CHUNK)

    def _opened(self, key: str, path: Path) -> BinaryIO:
        """Open a file for reading; a pipe or a device, which may never end, is none."""
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # a pipe would wait
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise StoreError(f"{self.uri}/{key} is no regular file.", "Replace it with one, or move it away.")
        return file

    def _path(self, key: str) -> Path:
        keys.check_key(key)
        return self._root / key

    def _write(
        self, key: str, pieces: Iterable[bytes | memoryview], *, if_absent: bool = False, if_match: str | None = None
    ) -> None:
        path = self._path(key)
        with self._explained(key), self._temporary(path.parent) as temporary:
            with temporary.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            with self._locked():
                self._require(path, key, if_absent=if_absent, if_match=if_match)
                temporary.replace(path)
                _sync(path.parent)

    def _require(self, path: Path, key: str, *, if_absent: bool, if_match: str | None) -> None:
        if if_absent and path.exists():
            raise ConflictError(f"{self.uri} already has {key!r}.", "Read it and decide again.")
        if if_match is not None and not (path.exists() and hashing.of_file(path) == if_match):
            raise ConflictError(f"{key!r} in {self.uri} was changed meanwhile.", "Read it again and decide again.")

    @contextlib.contextmanager
    def _temporary(self, folder: Path) -> Iterator[Path]:
        """Give a name for a temporary file in a folder, and remove what is left of it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._root / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)  # which also lets go of the lock

    def _sweep(self, now: float) -> None:
        long_ago = now - STALE_SECONDS
        for path in self._root.rglob(f"{TEMPORARY}*"):
            with contextlib.suppress(FileNotFoundError):  # its writer has just finished
                if path.stat().st_mtime < long_ago:
                    path.unlink()

    @contextlib.contextmanager
    def _explained(self, key: str = "", *, reading: bool = False) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            if reading:
                raise self._missing(key) from None
            raise self._error(key, error) from None
        except OSError as error:
            raise self._error(key, error) from None

    def _error(self, key: str, error: OSError) -> StoreError:
        what, remedy = _REASONS.get(error.errno or 0, (os.strerror(error.errno or 0), "Check the disk and the path."))
        at = f" at {key!r}" if key else ""
        return StoreError(f"The store {self.uri} {what}{at}.", remedy)


_READ_ONLY = ("cannot be read or written by this user", "Change its owner or its mode, or name another store.")
_FULL = ("is on a full disk", "Make room there, or name another store.")
_IN_THE_WAY = (
    "has a file where a folder is needed, or a folder where a file is",
    "Move it away, or name another store.",
)
_REASONS = {
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: ("is on a read-only file system", "Mount it for writing, or name another store."),
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOLCK: ("is on a file system without locks", "Promotion needs locks (flock): use a local disk, or S3."),
    errno.EOPNOTSUPP: ("is on a file system without locks", "Promotion needs locks (flock): use a local disk, or S3."),
}


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _sync(folder: Path) -> None:
    """Flush a folder, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
