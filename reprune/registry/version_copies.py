"""Which copy of a version's files stands, by the history, and which may be deleted.

Layout::

    registry/<workload>/versions/<id>/files/...        written first
    registry/<workload>/versions/<id>/after/<n>        number of moves in the history when it was published
    registry/<workload>/versions/<id>/manifest.json    written last: without it there is no version

A version that was retired n times and published again has its next copy in ``versions/<id>/again-<n>/``. The history
counts the retirements, so a copy ends with the move that retires it, and the files of a copy that has ended can be
deleted at any time: no reader looks there, no pointer moves there, and no publication writes a version there.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from reprune.errors import InputError, RepruneError, RetiredError
from reprune.registry.history import History, Move
from reprune.registry.ledger import Ledger
from reprune.registry.manifest import Version
from reprune.storage.base import NotFoundError

MANIFEST = "manifest.json"
AFTER = "after"
ID = re.compile(r"[0-9a-f]{64}")

_KEY = re.compile(r"(?P<id>[0-9a-f]{64})/(again-(?P<copy>[1-9][0-9]*)/)?(?P<name>.+)")

Found = TypeVar("Found")


class Copies(Ledger):
    """The copies of one workload's versions."""

    def retired_copies(self) -> list[str]:
        """Return the identifiers of versions with files that a retirement left to be deleted, in order."""
        history = self.document()
        stored = self._stored(f"{self._prefix}/versions/")
        return sorted({version_id for version_id, copy, _ in stored if copy < history.retirements(version_id)})

    def delete(self, version_id: str) -> None:
        """Delete the copies of a version that the history marks as retired, and no other; the manifest goes first.

        Raises:
            InputError: The history does not mark it, so it could be the champion.
        """
        retirements = self.document().retirements(version_id)
        if not retirements:
            raise InputError(
                f"Version {version_id[:12]} of {self.workload} is not retired, so its files stay.",
                "Delete versions by reprune.registry.retire, which marks them in the history first.",
            )
        ended = [found for found in self._stored(f"{self._prefix}/versions/{version_id}/") if found[1] < retirements]
        for _, copy, name in sorted(ended, key=lambda found: found[2] != MANIFEST):
            self.store.delete(self._key(version_id, name, copy))

    def _key(self, version_id: str, name: str, copy: int) -> str:
        return f"{self._prefix}/versions/{version_id}/{f'again-{copy}/' if copy else ''}{name}"

    def _stored(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Yield version, copy and name of the stored keys that begin with a prefix."""
        for key in self.store.list(prefix):
            found = _KEY.fullmatch(key.removeprefix(f"{self._prefix}/versions/"))
            if found:
                yield found["id"], int(found["copy"] or 0), found["name"]

    def _is_published(self, version_id: str, history: History) -> bool:
        """Return whether a version is there: if so, it stays as long as the history has no further retirement of it."""
        return self.store.exists(self._key(version_id, MANIFEST, history.retirements(version_id)))

    def _manifest(self, version_id: str, history: History) -> Version:
        """Return the version that a history speaks of.

        Raises:
            InputError: There is no such version, or it was retired.
            IntegrityError: Its manifest is damaged.
        """
        try:
            return self._load(version_id, history.retirements(version_id))
        except NotFoundError:
            raise self._absent(version_id) from None

    def _load(self, version_id: str, copy: int) -> Version:
        key = self._key(version_id, MANIFEST, copy)
        return Version.read(version_id, self.store.get(key), where=f"{self.store.uri}/{key}")

    def _from_copy(self, version_id: str, use: Callable[[int], Found], missing: Callable[[], RepruneError]) -> Found:
        """Use the copy of a version that stands, and the one that stands next if it is deleted meanwhile.

        Args:
            version_id: The version.
            use: Is given the number of the copy, and may be called again with another.
            missing: Makes the error if something is missing from a copy that stands.

        Raises:
            RetiredError: No copy stands any more.
        """
        history = self.document()
        while True:
            copy = history.retirements(version_id)
            try:
                return use(copy)
            except NotFoundError:
                history = self.document()
                if history.retirements(version_id) != copy:
                    continue
                mark = history.retirement(version_id)
                raise (
                    self._retired(mark) if mark and not self._is_published(version_id, history) else missing()
                ) from None

    def _absent(self, reference: str) -> InputError:
        """Return the error for a reference that no version answers to: it was retired, or never there."""
        marks = [
            move for move in self.document().moves if move.action == "retire" and move.version.startswith(reference)
        ]
        return self._retired(marks[-1]) if marks else self._unknown(reference)

    def _retired(self, mark: Move) -> RetiredError:
        return RetiredError(
            f"Version {mark.version[:12]} of {self.workload} was retired at {mark.at:%Y-%m-%d %H:%M:%S} UTC "
            f"({mark.reason}), and its files are deleted.",
            "Ask for the champion again, or name a version that `reprune models` lists.",
        )

    def _unknown(self, reference: str) -> InputError:
        return InputError(
            f"There is no version {reference[:16]} of {self.workload} in {self.store.uri}.",
            f"See reprune show {self.workload}.",
        )
