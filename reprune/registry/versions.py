"""Immutable versions of a workload's model in a store.

Layout::

    registry/<workload>/versions/<id>/files/...        written first
    registry/<workload>/versions/<id>/manifest.json    written last: without it there is no version
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from reprune import digest
from reprune.errors import InputError, IntegrityError
from reprune.registry.version import File, Manifest, Version
from reprune.store import NotFoundError, Store
from reprune.store.base import files_below

ROOT = "registry"
MANIFEST = "manifest.json"
WORKLOAD = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
REFERENCE = re.compile(r"[0-9a-f]{4,64}")

_ID = re.compile(r"[0-9a-f]{64}")


class Versions:
    """The versions of one workload.

    Args:
        store: Where it is kept.
        workload: Name of the workload.

    Raises:
        InputError: No workload can have this name.
    """

    def __init__(self, store: Store, workload: str) -> None:
        if not WORKLOAD.fullmatch(workload):
            raise InputError(
                f"{workload!r} cannot be the name of a workload.",
                "Use up to 63 lower-case letters, digits and dashes, and start with a letter or a digit.",
            )
        self.store = store
        self.workload = workload
        self._prefix = f"{ROOT}/{workload}"

    def publish(self, folder: Path, lineage: dict[str, Any] | None = None) -> Version:
        """Put the files of a folder into the registry, as a version that nobody can change any more.

        Publishing the same again does nothing. A publication that is cut short leaves files that are no version; the
        next one overwrites them.

        Args:
            folder: All files below it belong to the version.
            lineage: Where the version comes from: anything JSON can hold. It is part of the identifier, so
                leave out what differs between two tries of the same work, such as the time.

        Raises:
            InputError: The folder is empty, or a file's name cannot be stored.
            IntegrityError: A file changed while it was being read.
        """
        files = tuple(_describe(folder, path) for path in files_below(folder))
        if not files:
            raise InputError(f"{folder} has no files to publish.", "Name the folder of a bundle.")
        version = Version.of(Manifest(workload=self.workload, files=files, lineage=lineage or {}))
        if self._is_published(version.id):
            return self.version(version.id)
        for file in files:
            sent = self.store.upload(folder / file.path, self._key(version.id, f"files/{file.path}"))
            if sent != file.sha256:
                raise IntegrityError(f"{folder / file.path} changed while it was being published.", "Publish it again.")
        self.store.put(self._key(version.id, MANIFEST), version.manifest.canonical())
        return version

    def ids(self) -> list[str]:
        """Return the identifiers of all versions, in order."""
        prefix = f"{self._prefix}/versions/"
        found = (key.removeprefix(prefix).split("/") for key in self.store.list(prefix))
        return [parts[0] for parts in found if len(parts) == 2 and parts[1] == MANIFEST and _ID.fullmatch(parts[0])]

    def versions(self) -> list[Version]:
        """Return all versions, by identifier.

        Raises:
            IntegrityError: One of them is damaged.
        """
        return [self.version(version_id) for version_id in self.ids()]

    def published(self, version_id: str) -> datetime:
        """Return when a version was published, in UTC, by the clock of the store."""
        return self.store.modified(self._key(version_id, MANIFEST))

    def version(self, reference: str) -> Version:
        """Find a version.

        Args:
            reference: Its identifier, or the beginning of it if no other begins so.

        Raises:
            InputError: There is no such version, or more than one.
            IntegrityError: Its manifest is damaged.
        """
        version_id = self.resolve(reference)
        key = self._key(version_id, MANIFEST)
        try:
            stored = self.store.get(key)
        except NotFoundError:
            raise self._unknown(reference) from None
        return Version.read(version_id, stored, where=f"{self.store.uri}/{key}")

    def resolve(self, reference: str) -> str:
        """Return the identifier that a reference stands for.

        Raises:
            InputError: There is no such version, or more than one.
        """
        if _ID.fullmatch(reference):
            return reference
        if not REFERENCE.fullmatch(reference):
            raise InputError(f"{reference!r} is no version.", "Give at least the first four digits of its identifier.")
        found = [version_id for version_id in self.ids() if version_id.startswith(reference)]
        if not found:
            raise self._unknown(reference)
        if len(found) > 1:
            names = ", ".join(version_id[:16] for version_id in found[:5])
            raise InputError(
                f"{reference!r} could be {len(found)} versions of {self.workload}: {names}.", "Give more digits."
            )
        return found[0]

    def files_uri(self, version: Version) -> str:
        """Return the URI of the folder that holds a version's files, for programs that fetch for themselves."""
        return f"{self.store.uri}/{self._key(version.id, 'files')}"

    def fetch(self, version: Version | str, destination: Path, *, only: list[str] | None = None) -> Path:
        """Bring files of a version into a folder, each verified by its digest.

        Args:
            version: The version, or a reference to it.
            destination: The folder; created if need be.
            only: Files and folders of the version; by default all of it.

        Returns:
            The folder.

        Raises:
            InputError: There is no such version or file.
            IntegrityError: A file is damaged or gone; it is not left in the folder.
        """
        found = self._found(version)
        for file in found.select(only):
            key = self._key(found.id, f"files/{file.path}")
            try:
                self.store.download(key, destination / file.path, sha256=file.sha256)
            except NotFoundError:
                raise self._gone(found, file) from None
        return destination

    def read(self, version: Version | str, path: str) -> bytes:
        """Return the contents of one file of a version, verified by its digest.

        Raises:
            InputError: There is no such version or file.
            IntegrityError: The file is damaged or gone.
        """
        found = self._found(version)
        file = next((file for file in found.files if file.path == path), None)
        if file is None:
            there = ", ".join(file.path for file in found.files)
            raise InputError(f"Version {found.short} of {self.workload} has no {path!r}.", f"It has {there}.")
        try:
            return self.store.get(self._key(found.id, f"files/{path}"), sha256=file.sha256)
        except NotFoundError:
            raise self._gone(found, file) from None

    def delete(self, version_id: str) -> None:
        """Remove a version; its manifest goes first, so that what is cut short leaves no half of a version."""
        self.store.delete(self._key(version_id, MANIFEST))
        for key in list(self.store.list(self._key(version_id, ""))):
            self.store.delete(key)

    def _key(self, version_id: str, name: str) -> str:
        return f"{self._prefix}/versions/{version_id}/{name}"

    def _is_published(self, version_id: str) -> bool:
        return self.store.exists(self._key(version_id, MANIFEST))

    def _found(self, version: Version | str) -> Version:
        return self.version(version) if isinstance(version, str) else version

    def _unknown(self, reference: str) -> InputError:
        return InputError(
            f"There is no version {reference[:16]} of {self.workload} in {self.store.uri}.",
            f"See reprune show {self.workload}.",
        )

    def _gone(self, version: Version, file: File) -> IntegrityError:
        return IntegrityError(
            f"Version {version.short} of {self.workload} lacks its file {file.path} in {self.store.uri}.",
            "Restore it from a backup, or roll back to another version.",
        )


def _describe(folder: Path, path: str) -> File:
    try:
        return File(path=path, size_bytes=(folder / path).stat().st_size, sha256=digest.of_file(folder / path))
    except ValueError:  # pydantic's, from a name that no store can have
        raise InputError(
            f"{path!r} in {folder} cannot be published.", "Rename it; hidden files cannot be stored."
        ) from None
    except OSError as error:
        raise InputError(f"{folder / path} cannot be read: {error.strerror}.", "Check its owner and mode.") from None
