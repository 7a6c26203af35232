"""A folder of files that appears whole or not at all, and replaces what was there whole or not at all.

Files are written to a staged folder: beside a folder that is to be made, inside one that exists. Publishing is one
rename. Of a folder that exists, that rename makes the staged files ``.published``, and each is then moved to its place;
if the process is killed meanwhile, `finish` moves the rest.
"""

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from reprune.errors import InputError, StoreError

PUBLISHED = ".published"
_STAGED = ".staged-"


@contextlib.contextmanager
def staged(folder: Path, *, index: str, names: Sequence[str]) -> Iterator[Path]:
    """Give a folder to write to, and publish what is in it if the block ends without an error.

    After an error nothing of it is left. What a killed process left is removed by the next one that writes there.

    Args:
        folder: Where the files are to be; its parents are created.
        index: The JSON file among them whose ``files`` names all the others.
        names: Every name that such a folder can have; those that are not written are removed from an existing one.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        finish(folder, index=index, names=names)
        parent, prefix = (folder, _STAGED) if folder.exists() else (folder.parent, f".{folder.name}{_STAGED}")
        _sweep(parent, prefix)
        place, lock = _locked_folder(parent, prefix)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        yield place
        os.rename(place, folder / PUBLISHED if parent == folder else folder)
        finish(folder, index=index, names=names)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def finish(folder: Path, *, index: str, names: Sequence[str]) -> None:
    """Move published files to their places, the index last; also side by side with another process that does so.

    Raises:
        InputError: The index among the published files names no files.
        OSError: The folder cannot be written.
    """
    published = folder / PUBLISHED
    wanted = _named(published / index)
    if wanted is not None:
        others = [name for name in names if name != index]
        for name in (*others, index):
            with contextlib.suppress(FileNotFoundError):  # it was moved already
                if name == index or name in wanted:
                    os.replace(published / name, folder / name)
                else:
                    (folder / name).unlink()
    with contextlib.suppress(FileNotFoundError):
        published.rmdir()


def _named(index: Path) -> set[str] | None:
    """Return the names of the files of an index, or None if it is in its place, and thus every other file too."""
    try:
        return set(json.loads(index.read_bytes())["files"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{index} names no files.", f"Delete {index.parent}.") from None


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make an empty folder that is locked as long as this process lives."""
    while True:
        place = parent / f"{prefix}{uuid.uuid4().hex[:12]}"
        place.mkdir()
        with contextlib.suppress(FileNotFoundError):  # another process swept it before it was locked
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            if _lock(descriptor) is not False and place.exists():
                return place, descriptor
            os.close(descriptor)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the staged folders of processes that are gone."""
    for place in parent.iterdir():
        if not place.name.startswith(prefix):
            continue
        with contextlib.suppress(OSError):  # its process has just published it, or is another user's
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            if _lock(descriptor):
                shutil.rmtree(place, ignore_errors=True)
            os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a folder; returns whether it was free, or None if its file system has no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder} cannot be written: {error.strerror or error}.", "Name a folder that you may write to.")
