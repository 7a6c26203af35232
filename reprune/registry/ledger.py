"""The document of one workload's moves: read as one state, changed by compare-and-swap."""

import re
from collections.abc import Callable

from reprune.errors import ConflictError, InputError
from reprune.registry.history import Canary, Champion, History, Move
from reprune.storage.base import Entry, NotFoundError, Store

ROOT = "registry"
POINTER = "champion.json"
WORKLOAD = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
TRIES = 100
"""Writes that may lose against other moves, of which each made progress, before a move is given up."""


class Ledger:
    """All moves of one workload, in ``registry/<workload>/champion.json``.

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
        self._pointer = f"{self._prefix}/{POINTER}"

    def document(self) -> History:
        """Return all moves as of one reading, with the champion and the canary that follow from them."""
        return self._read()[0]

    def pointer(self) -> Champion | None:
        """Return the champion without looking whether its version is there."""
        return self.document().champion

    def canary(self) -> Canary | None:
        """Return the version on trial beside the champion, if there is one."""
        return self.document().canary

    def history(self) -> list[Move]:
        """Return all moves, oldest first."""
        return list(self.document().moves)

    def _read(self) -> tuple[History, Entry | None]:
        try:
            entry = self.store.entry(self._pointer)
        except NotFoundError:
            return History(), None
        return History.load(entry.data, where=f"{self.store.uri}/{self._pointer}"), entry

    def _change(self, decide: Callable[[History], History]) -> History:
        """Write the history that a decision leads to, if it still is the one that the decision was made on.

        Args:
            decide: Returns the history with more moves, or the same one if there is nothing to do. It is called again
                on the new history if another move came between, and raises if that one takes its ground away.

        Returns:
            The history with the moves.

        Raises:
            ConflictError: The document changed at each try.
        """
        for _ in range(TRIES):
            before, entry = self._read()
            after = decide(before)
            if after is before:
                return before
            self.store.check_conditional_writes()
            try:
                if entry is None:
                    self.store.put(self._pointer, after.dump(), if_absent=True)
                else:
                    self.store.put(self._pointer, after.dump(), if_match=entry.token)
            except ConflictError:
                later = {move.id for move in self.document().moves[len(before.moves) :]}
                if after.moves[-1].id not in later:
                    continue  # else the write was made, and its answer was lost
            return after
        raise ConflictError(
            f"{self._pointer} in {self.store.uri} was changed by others at each of {TRIES} tries.", "Try again."
        )
