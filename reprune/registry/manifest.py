"""A version: files and their lineage under the digest of both."""

import json
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from reprune import hashing
from reprune.errors import InputError, IntegrityError
from reprune.storage import keys


class File(BaseModel):
    """One file of a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Relative to the version, with forward slashes."""

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if not keys.is_key(path):
            raise ValueError(f"{path!r} is no name in a store")
        return path


class Manifest(BaseModel):
    """The contents of ``manifest.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    workload: str
    files: tuple[File, ...] = Field(min_length=1)
    lineage: dict[str, Any] = {}

    def canonical(self) -> bytes:
        """Return the one JSON that this manifest is stored as: keys sorted, no white space, no NaN.

        Raises:
            InputError: The lineage holds something that JSON cannot.
        """
        value = {**self.model_dump(mode="json", exclude={"lineage"}), "lineage": self.lineage}
        try:
            return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise InputError(
                f"The lineage is no JSON: {error}.", "Give finite numbers, strings, lists and dicts."
            ) from None


class Version(BaseModel):
    """An immutable version of a workload's model.

    Its identifier is the sha256 of its ``manifest.json``, which lists the sha256 of every file: who knows the
    identifier can verify all of it, with ``sha256sum`` alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    manifest: Manifest

    @classmethod
    def of(cls, manifest: Manifest) -> "Version":
        """Name a manifest by its digest."""
        return cls(id=hashing.of_bytes(manifest.canonical()), manifest=manifest)

    @classmethod
    def read(cls, version_id: str, stored: bytes, *, where: str) -> "Version":
        """Take a manifest from the store.

        Args:
            version_id: What it must be.
            stored: The bytes of ``manifest.json``.
            where: The store and the key, for messages.

        Raises:
            IntegrityError: It is not what its identifier says, or of a format to come.
        """
        found = hashing.of_bytes(stored)
        if found != version_id:
            raise IntegrityError(
                f"{where} is damaged: its sha256 is {found}, expected {version_id}.",
                "Restore it from a backup, or delete that version's folder and publish it again.",
            )
        try:
            return cls(id=version_id, manifest=Manifest.model_validate_json(stored))
        except ValidationError as error:
            problem = error.errors()[0]
            raise IntegrityError(
                f"{where} cannot be read: {problem['loc']}: {problem['msg']}.", "Upgrade reprune."
            ) from None

    @property
    def short(self) -> str:
        """The first digits of the identifier, as people are shown it."""
        return self.id[:12]

    @property
    def workload(self) -> str:
        """Name of the workload."""
        return self.manifest.workload

    @property
    def files(self) -> tuple[File, ...]:
        """The files, by path."""
        return self.manifest.files

    @property
    def lineage(self) -> dict[str, Any]:
        """Where it comes from, as given when it was published."""
        return self.manifest.lineage

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size_bytes for file in self.files)

    def select(self, only: list[str] | None) -> list[File]:
        """Return the files of some paths; a folder stands for all files below it.

        Args:
            only: Files and folders; None is all of them.

        Raises:
            InputError: The version has no such file or folder.
        """
        if only is None:
            return list(self.files)
        wanted = [path.strip("/") for path in only]
        chosen = [file for file in self.files if any(_covers(path, file.path) for path in wanted)]
        for path in wanted:
            if not any(_covers(path, file.path) for file in chosen):
                there = ", ".join(file.path for file in self.files)
                raise InputError(f"Version {self.short} of {self.workload} has no {path!r}.", f"It has {there}.")
        return chosen


def _covers(path: str, file: str) -> bool:
    return PurePosixPath(file).is_relative_to(path)
