"""Immutable versions of a workload's model in a store: publish, list, find, fetch."""

import re
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Any

from reprune import hashing
from reprune.errors import InputError, IntegrityError
from reprune.registry.manifest import File, Manifest, Version
from reprune.registry.version_copies import AFTER, ID, MANIFEST, Copies
from reprune.storage.base import NotFoundError, files_below

REFERENCE = re.compile(r"[0-9a-f]{4,64}")

_AFTER = re.compile(rf"{AFTER}/(0|[1-9][0-9]*)")


class Versions(Copies):
    """The versions of one workload.

    Args:
        store: Where it is kept.
        workload: Name of the workload.

    Raises:
        InputError: No workload can have this name.
    """

    def publish(self, folder: Path, lineage: dict[str, Any] | None = None) -> Version:
        """Put the files of a folder into the registry, as a version that never changes.

        Publishing the same again does nothing, unless the version was retired. A publication that is cut short leaves
        files that are no version; the next one overwrites them.

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
        while True:  # a second time only if the same was published by another, and retired, meanwhile
            copy = self.document().retirements(version.id)
            try:
                return self._load(version.id, copy)
            except NotFoundError:
                self._write(folder, version, copy)

    def _write(self, folder: Path, version: Version, copy: int) -> None:
        for file in version.files:
            sent = self.store.upload(folder / file.path, self._key(version.id, f"files/{file.path}", copy))
            if sent != file.sha256:
                raise IntegrityError(f"{folder / file.path} changed while it was being published.", "Publish it again.")
        self.store.put(self._key(version.id, f"{AFTER}/{len(self.document().moves)}", copy), b"")
        self.store.put(self._key(version.id, MANIFEST, copy), version.manifest.canonical())

    def ids(self) -> list[str]:
        """Return the identifiers of all versions, in order."""
        return sorted(self.positions())

    def positions(self) -> dict[str, int | None]:
        """Return, for each version, how many moves the history had when it was published.

        The order of moves and publications follows from these numbers, whatever the clocks say. A version that was
        published by a reprune that did not record the number has None.
        """
        history = self.document()
        found: dict[str, list[int]] = {}
        published = set()
        for version_id, copy, name in self._stored(f"{self._prefix}/versions/"):
            if copy != history.retirements(version_id):
                continue
            if name == MANIFEST:
                published.add(version_id)
            elif after := _AFTER.fullmatch(name):
                found.setdefault(version_id, []).append(int(after[1]))
        return {version_id: max(found.get(version_id, []), default=None) for version_id in published}

    def versions(self) -> list[Version]:
        """Return all versions, by identifier.

        Raises:
            IntegrityError: One of them is damaged.
        """
        found = []
        for version_id in self.ids():
            try:
                found.append(self.version(version_id))
            except InputError:
                continue  # deleted since it was listed
        return found

    def published(self, version_id: str) -> datetime:
        """Return when a version was published, in UTC, by the clock of the store.

        Raises:
            InputError: There is no such version, or it was retired.
        """
        return self._from_copy(
            version_id,
            lambda copy: self.store.modified(self._key(version_id, MANIFEST, copy)),
            lambda: self._unknown(version_id),
        )

    def version(self, reference: str) -> Version:
        """Find a version.

        Args:
            reference: Its identifier, or the beginning of it if no other begins so.

        Raises:
            InputError: There is no such version, or more than one, or it was retired.
            IntegrityError: Its manifest is damaged.
        """
        version_id = self.resolve(reference)
        return self._from_copy(version_id, lambda copy: self._load(version_id, copy), lambda: self._unknown(reference))

    def resolve(self, reference: str) -> str:
        """Return the identifier that a reference stands for.

        Raises:
            InputError: There is no such version, or more than one, or it was retired.
        """
        if ID.fullmatch(reference):
            return reference
        if not REFERENCE.fullmatch(reference):
            raise InputError(f"{reference!r} is no version.", "Give at least the first four digits of its identifier.")
        found = [version_id for version_id in self.ids() if version_id.startswith(reference)]
        if not found:
            raise self._absent(reference)
        if len(found) > 1:
            names = ", ".join(version_id[:16] for version_id in found[:5])
            raise InputError(
                f"{reference!r} could be {len(found)} versions of {self.workload}: {names}.", "Give more digits."
            )
        return found[0]

    def files_uri(self, version: Version) -> str:
        """Return the URI of the folder that holds a version's files, for programs that fetch for themselves."""
        copy = self.document().retirements(version.id)
        return f"{self.store.uri}/{self._key(version.id, 'files', copy)}"

    def fetch(self, version: Version | str, destination: Path, *, only: list[str] | None = None) -> Path:
        """Bring files of a version into a folder, each verified by its digest.

        Args:
            version: The version, or a reference to it.
            destination: The folder; created if need be.
            only: Files and folders of the version; by default all of it.

        Returns:
            The folder.

        Raises:
            InputError: There is no such version or file, or the version was retired.
            IntegrityError: A file is damaged or gone; it is not left in the folder.
        """
        found = self._found(version)
        left = deque(found.select(only))

        def bring(copy: int) -> Path:
            while left:
                key = self._key(found.id, f"files/{left[0].path}", copy)
                self.store.download(key, destination / left[0].path, sha256=left[0].sha256)
                left.popleft()
            return destination

        return self._from_copy(found.id, bring, lambda: self._gone(found, left[0]))

    def read(self, version: Version | str, path: str) -> bytes:
        """Return the contents of one file of a version, verified by its digest.

        Raises:
            InputError: There is no such version or file, or the version was retired.
            IntegrityError: The file is damaged or gone.
        """
        found = self._found(version)
        file = next((file for file in found.files if file.path == path), None)
        if file is None:
            there = ", ".join(file.path for file in found.files)
            raise InputError(f"Version {found.short} of {self.workload} has no {path!r}.", f"It has {there}.")
        return self._from_copy(
            found.id,
            lambda copy: self.store.get(self._key(found.id, f"files/{path}", copy), sha256=file.sha256),
            lambda: self._gone(found, file),
        )

    def _found(self, version: Version | str) -> Version:
        return self.version(version) if isinstance(version, str) else version

    def _gone(self, version: Version, file: File) -> IntegrityError:
        return IntegrityError(
            f"Version {version.short} of {self.workload} lacks its file {file.path} in {self.store.uri}.",
            "Restore it from a backup, or roll back to another version.",
        )


def _describe(folder: Path, path: str) -> File:
    try:
        return File(path=path, size_bytes=(folder / path).stat().st_size, sha256=hashing.of_file(folder / path))
    except ValueError:  # pydantic's, from a name that no store can have
        raise InputError(
            f"{path!r} in {folder} cannot be published.", "Rename it; hidden files cannot be stored."
        ) from None
    except OSError as error:
        raise InputError(f"{folder / path} cannot be read: {error.strerror}.", "Check its owner and mode.") from None
