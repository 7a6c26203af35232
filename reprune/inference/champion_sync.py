"""A folder that always holds the champion, for servers of any kind: fetched, verified, then swapped in one step."""

import json
import logging
import os
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path

from reprune.errors import InputError, RepruneError
from reprune.registry.history import Champion
from reprune.registry.manifest import Version
from reprune.registry.registry import Registry

log = logging.getLogger(__name__)

CURRENT = "current"


class Follower:
    """Keeps ``<folder>/current`` a link to the champion's files, in ``<folder>/versions/<id>``.

    The link moves only when every file is there and is what its digest says. The version before stays, for who still
    reads it; older ones are deleted.

    Args:
        registry: The workload's models.
        folder: Created if need be; one follower to a folder.
        only: Files and folders of the version; by default all of it.
        notify: URL that is told of a new champion, by a POST of ``{"workload": ..., "version": ..., "path": ...}``.
    """

    def __init__(
        self, registry: Registry, folder: Path, *, only: list[str] | None = None, notify: str | None = None
    ) -> None:
        self._registry, self._folder, self._only, self._notify = registry, folder, only, notify
        self._told: str | None = None

    @property
    def current(self) -> str | None:
        """Identifier of the version that the folder holds."""
        link = self._folder / CURRENT
        return link.readlink().name if link.is_symlink() and link.exists() else None

    def update(self) -> bool:
        """Bring the champion into the folder if it is not there; returns whether the link moved.

        Raises:
            InputError: There is no champion, or the folder cannot be written.
            IntegrityError: A file is damaged or gone; the folder stays as it was.
            StoreError: The store cannot be read; the folder stays as it was.
        """
        changed = self._registry.with_champion(self._hold)
        if changed is None:
            workload = self._registry.workload
            raise InputError(
                f"{workload} has no champion in {self._registry.store.uri}.",
                f"Make one: reprune run {workload}; or name the store that has one (--store).",
            )
        return changed

    def _hold(self, champion: Champion) -> bool:
        """Bring a champion into the folder if it is not there; returns whether the link moved."""
        before = self.current
        if champion.version != before:
            self._swap(self._fetch(self._registry.version(champion.version)))
            self._forget_others(champion.version, before)
            log.info("%s %s is served from now on: %s", self._registry.workload, champion.short, champion.reason)
        self._tell(champion.version)
        return champion.version != before

    def watch(self, interval: float, stop: threading.Event) -> None:
        """Update again and again; what fails is logged, and the folder goes on holding what it holds.

        Args:
            interval: Seconds between two looks at the registry.
            stop: Ends it when set.
        """
        while not stop.wait(interval):
            try:
                self.update()
            except RepruneError as error:
                log.error("%s", error)

    def _fetch(self, version: Version) -> Path:
        """Return the version's folder, whole; an earlier try that was cut short is done again."""
        done = self._folder / "versions" / version.id
        partial = self._folder / f".{version.id}.part"
        if not done.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
            try:
                partial.mkdir(parents=True)
                done.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"{self._folder} cannot be written: {error.strerror}.", "Name another folder, or make room."
                ) from None
            self._registry.fetch(version, partial, only=self._only)
            partial.rename(done)
        return done

    def _swap(self, version: Path) -> None:
        new = self._folder / f".{CURRENT}"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions") / version.name)
        os.replace(new, self._folder / CURRENT)

    def _forget_others(self, *keep: str | None) -> None:
        for folder in (self._folder / "versions").iterdir():
            if folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, version: str) -> None:
        """Tell the server once of a version; one that does not listen is told again at the next look."""
        if self._notify is None or self._told == version:
            return
        told = {"workload": self._registry.workload, "version": version, "path": str(self._folder / CURRENT)}
        request = urllib.request.Request(
            self._notify, json.dumps(told).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30):
                self._told = version
        except (urllib.error.URLError, OSError) as error:
            log.warning("%s was not told of %s: %s", self._notify, version[:12], error)
