"""The registry of one workload: its versions, and champion and canary in ``registry/<workload>/champion.json``."""

from reprune.errors import ConflictError, InputError, IntegrityError
from reprune.registry.history import Canary, Champion, History, Move
from reprune.registry.versions import REFERENCE, ROOT, WORKLOAD, Versions
from reprune.store import Entry, NotFoundError, Store

POINTER = "champion.json"


class Registry(Versions):
    """Versions of a workload's model, and the champion among them.

    The pointer to the champion moves by compare-and-swap, together with its history: of two moves at once exactly one
    is made, and the other is told.

    Args:
        store: Where it is kept.
        workload: Name of the workload.

    Raises:
        InputError: No workload can have this name.
    """

    def __init__(self, store: Store, workload: str) -> None:
        super().__init__(store, workload)
        self._pointer = f"{self._prefix}/{POINTER}"

    def document(self) -> History:
        """Return all moves as of one reading, with the champion and the canary that follow from them."""
        return self._history()[0]

    def champion(self) -> Champion | None:
        """Return the champion, or None before the first promotion.

        Raises:
            IntegrityError: It points to a version that is gone, or its document is damaged.
        """
        champion = self.pointer()
        if champion and not self._is_published(champion.version):
            raise IntegrityError(
                f"The champion of {self.workload} is version {champion.short}, which is gone from {self.store.uri}.",
                f"Restore it from a backup, or go back: reprune rollback {self.workload} --to VERSION.",
            )
        return champion

    def pointer(self) -> Champion | None:
        """Return the champion without looking whether its version is there."""
        return self.document().champion

    def canary(self) -> Canary | None:
        """Return the version on trial beside the champion, if there is one."""
        return self.document().canary

    def history(self) -> list[Move]:
        """Return all moves of champion and canary, oldest first."""
        return list(self.document().moves)

    def promote(self, reference: str, *, reason: str, expected: Champion | None, by: str = "") -> Champion:
        """Make a version the champion, if the champion is still the one that it was compared with.

        Promoting the version that is champion already does nothing, so that a promotion may be tried again.

        Args:
            reference: The version.
            reason: Why, for the history.
            expected: The champion that the decision was made against; None if there was none.
            by: The run or the person that decided.

        Raises:
            ConflictError: Somebody else moved the champion meanwhile; the message says who.
            InputError: There is no such version, or no reason.
            StoreError: The store does not keep conditional writes.
        """
        version = self.version(reference)
        history, entry = self._history()
        current = history.champion
        if current and current.version == version.id:
            return current
        if _place(current) != _place(expected):
            raise self._overtaken(version.id, current)
        after = history.extended("promote", version.id, reason=_given(reason), by=by)
        return _champion_of(self._move(history, entry, after))

    def try_out(self, reference: str, percent: int, *, reason: str, expected: Champion | None, by: str = "") -> Canary:
        """Put a version on trial beside the champion that it was compared with; it takes the place of another.

        The registry records the share; whoever routes the traffic reads it from here.

        Args:
            reference: The version.
            percent: Share of the traffic that it is to answer, 0 to 99; 0 is a shadow, whose answers nobody sees.
            reason: Why, for the history.
            expected: The champion that the decision was made against.
            by: The run or the person that decided.

        Raises:
            ConflictError: Somebody else moved the champion meanwhile.
            InputError: There is no such version, no champion to stand beside, or no such share.
        """
        if not 0 <= percent <= 99:
            raise InputError(
                f"A canary cannot answer {percent} % of the traffic.", "Give 0 (a shadow) to 99, or promote it."
            )
        version = self.version(reference)
        history, entry = self._history()
        if history.champion is None:
            raise InputError(f"{self.workload} has no champion to stand beside.", "Promote a version first.")
        if history.champion.version == version.id:
            raise InputError(f"{version.short} is the champion of {self.workload} already.", "Try out another version.")
        if _place(history.champion) != _place(expected):
            raise self._overtaken(version.id, history.champion)
        after = history.extended("canary", version.id, reason=_given(reason), by=by, percent=percent)
        canary = self._move(history, entry, after).canary
        assert canary is not None
        return canary

    def withdraw(self, *, reason: str, by: str = "") -> Canary:
        """End the trial of the canary, and return what it was.

        Raises:
            InputError: There is none, or no reason.
            ConflictError: Somebody else made a move meanwhile.
        """
        history, entry = self._history()
        canary = history.canary
        if canary is None:
            raise InputError(f"{self.workload} has no canary to withdraw.", f"See reprune show {self.workload}.")
        self._move(history, entry, history.extended("withdraw", canary.version, reason=_given(reason), by=by))
        return canary

    def rollback(self, *, to: str | None = None, reason: str, by: str = "") -> Champion:
        """Make an earlier champion the champion again.

        Args:
            to: The version; by default the promotion before the one that stands, so that rollbacks walk back.
            reason: Why, for the history.
            by: The run or the person that decided.

        Raises:
            InputError: There is nothing to go back to, or the version was never champion.
            IntegrityError: The version to go back to is gone or damaged.
            ConflictError: Somebody else moved the champion meanwhile.
        """
        history, entry = self._history()
        target = self._former(history, to) if to else self._before(history)
        if not self._is_published(target):
            raise IntegrityError(
                f"Version {target[:12]} of {self.workload}, to go back to, is gone from {self.store.uri}.",
                f"Restore it from a backup, or name another: reprune rollback {self.workload} --to VERSION.",
            )
        self.version(target)
        after = history.extended("rollback", target, reason=_given(reason), by=by)
        return _champion_of(self._move(history, entry, after))

    def _before(self, history: History) -> str:
        standing = history.standing()
        if not standing:
            raise InputError(
                f"{self.workload} has no champion, so there is nothing to roll back.", "Promote a version first."
            )
        if len(standing) == 1:
            raise InputError(
                f"{standing[0][:12]} is the first champion of {self.workload}: there is none before it to go back to.",
                f"See reprune show {self.workload} for its history, and name a version with --to.",
            )
        return standing[-2]

    def _former(self, history: History, reference: str) -> str:
        moves = history.champion_moves
        known = {
            move.version for move in moves if REFERENCE.fullmatch(reference) and move.version.startswith(reference)
        }
        if len(known) > 1:
            raise InputError(f"{reference!r} could be {len(known)} versions of {self.workload}.", "Give more digits.")
        if not known:
            version = self.version(reference)
            raise InputError(f"Version {version.short} of {self.workload} was never champion.", "Name one that was.")
        (target,) = known
        if moves[-1].version == target:
            raise InputError(
                f"Version {target[:12]} is the champion of {self.workload} already.", "Name another version."
            )
        return target

    def _history(self) -> tuple[History, Entry | None]:
        try:
            entry = self.store.entry(self._pointer)
        except NotFoundError:
            return History(), None
        return History.load(entry.data, where=f"{self.store.uri}/{self._pointer}"), entry

    def _move(self, before: History, entry: Entry | None, after: History) -> History:
        """Write the document if it is still what was read, and return it."""
        self.store.check_conditional_writes()
        made = after.moves[-1]
        try:
            if entry is None:
                self.store.put(self._pointer, after.dump(), if_absent=True)
            else:
                self.store.put(self._pointer, after.dump(), if_match=entry.token)
        except ConflictError:
            now, _ = self._history()
            if made.id not in {
                move.id for move in now.moves[len(before.moves) :]
            }:  # else the answer to our own write was lost
                raise self._overtaken(made.version, now.champion) from None
        return after

    def _overtaken(self, version_id: str, winner: Champion | None) -> ConflictError:
        who = (
            f"the champion now is {winner.short}, since {winner.since:%Y-%m-%d %H:%M:%S} UTC"
            f"{f', by {winner.by}' if winner.by else ''} ({winner.reason})"
            if winner
            else "there is no champion any more"
        )
        return ConflictError(
            f"{version_id[:12]} did not become champion of {self.workload}: somebody else was first; {who}.",
            "Compare with the new champion, then decide again.",
        )


def workloads(store: Store) -> list[str]:
    """Return the names of the workloads that have a registry in a store."""
    names = {key.split("/")[1] for key in store.list(f"{ROOT}/") if key.count("/") >= 2}
    return sorted(name for name in names if WORKLOAD.fullmatch(name))


def _champion_of(history: History) -> Champion:
    assert history.champion is not None, "the last move made one"
    return history.champion


def _place(champion: Champion | None) -> tuple[int, str] | None:
    return (champion.sequence, champion.version) if champion else None


def _given(reason: str) -> str:
    if not reason.strip():
        raise InputError("A move of the champion needs a reason.", "Say why, for whoever reads the history.")
    return reason.strip()
