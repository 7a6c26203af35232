"""The registry of one workload: its versions, and champion and canary in ``registry/<workload>/champion.json``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from reprune.errors import ConflictError, InputError, IntegrityError, RetiredError
from reprune.registry.history import Canary, Champion, History
from reprune.registry.ledger import ROOT, WORKLOAD
from reprune.registry.version_store import REFERENCE, Versions
from reprune.storage.base import Store

Found = TypeVar("Found")


class Registry(Versions):
    """Versions of a workload's model, and the champion among them.

    The pointer to the champion moves by compare-and-swap, together with its history: of two moves at once exactly one
    is made, and the other gets an error that names the winner. A version is retired by a move too. So no pointer moves
    to a retired version, and no version is retired while it is the champion or the canary.

    Args:
        store: Where it is kept.
        workload: Name of the workload.

    Raises:
        InputError: No workload can have this name.
    """

    def champion(self) -> Champion | None:
        """Return the champion, or None before the first promotion.

        Raises:
            IntegrityError: It points to a version that is gone, or its document is damaged.
        """
        history = self.document()
        while (champion := history.champion) and not self._is_published(champion.version, history):
            before, history = history, self.document()
            if history == before:
                raise IntegrityError(
                    f"The champion of {self.workload} is version {champion.short}, which is gone from "
                    f"{self.store.uri}.",
                    f"Restore it from a backup, or go back: reprune rollback {self.workload} --to VERSION.",
                )
        return champion

    def with_champion(self, use: Callable[[Champion], Found]) -> Found | None:
        """Use the champion, and the next one instead if it is replaced and retired meanwhile.

        Args:
            use: Is given the champion, and may be called again with the next one.

        Returns:
            The result; None if there is no champion yet.

        Raises:
            IntegrityError: The champion points to a version that is gone, or is damaged.
        """
        while champion := self.champion():
            try:
                return use(champion)
            except RetiredError:
                if self.pointer() == champion:
                    raise  # another version than the champion
        return None

    def fetch_champion(self, destination: Path, *, only: list[str]) -> Champion | None:
        """Bring files of the champion into a folder, each verified by its digest.

        Returns:
            The champion that they are of; None if there is no champion yet.

        Raises:
            InputError: The champion has no such file.
            IntegrityError: The champion is damaged or gone.
        """

        def bring(champion: Champion) -> Champion:
            self.fetch(champion.version, destination, only=only)
            return champion

        return self.with_champion(bring)

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
        version_id = self.resolve(reference)

        def decide(history: History) -> History:
            version = self._manifest(version_id, history)
            current = history.champion
            if current and current.version == version.id:
                return history
            if _place(current) != _place(expected):
                raise self._overtaken(version.id, current)
            return history.extended("promote", version.id, reason=_given(reason), by=by)

        return _champion_of(self._change(decide))

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
        version_id = self.resolve(reference)

        def decide(history: History) -> History:
            version = self._manifest(version_id, history)
            if history.champion is None:
                raise InputError(f"{self.workload} has no champion to stand beside.", "Promote a version first.")
            if history.champion.version == version.id:
                raise InputError(
                    f"{version.short} is the champion of {self.workload} already.", "Try out another version."
                )
            if _place(history.champion) != _place(expected):
                raise self._overtaken(version.id, history.champion)
            return history.extended("canary", version.id, reason=_given(reason), by=by, percent=percent)

        canary = self._change(decide).canary
        assert canary is not None
        return canary

    def withdraw(self, *, reason: str, by: str = "") -> Canary:
        """End the trial of the canary, and return what it was.

        Raises:
            InputError: There is none, or no reason.
            ConflictError: Somebody else made a move meanwhile.
        """
        canary = self.canary()
        if canary is None:
            raise InputError(f"{self.workload} has no canary to withdraw.", f"See reprune show {self.workload}.")

        def decide(history: History) -> History:
            if history.canary != canary:
                raise self._overtaken(canary.version, history.champion)
            return history.extended("withdraw", canary.version, reason=_given(reason), by=by)

        self._change(decide)
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
        start = self.document()
        target = self._former(start, to) if to else self._before(start)

        def decide(history: History) -> History:
            if _place(history.champion) != _place(start.champion):
                raise self._overtaken(target, history.champion)
            if not self._is_published(target, history):
                raise self._nothing_to_go_back_to(target)
            self._manifest(target, history)
            return history.extended("rollback", target, reason=_given(reason), by=by)

        return _champion_of(self._change(decide))

    def mark_retired(self, choose: Callable[[History], Sequence[str]], *, reason: str, by: str = "") -> list[str]:
        """Mark versions as retired in the history, in one write; from then on no pointer moves to them.

        Args:
            choose: Returns the versions, and is called again if another move came between.
            reason: Why, for the history.
            by: The run or the person that decided.

        Returns:
            Their identifiers.

        Raises:
            InputError: One of them is the champion or the canary, or there is no reason.
            ConflictError: Others made moves at each try.
        """
        chosen: list[str] = []

        def decide(history: History) -> History:
            chosen[:] = choose(history)
            for version_id in chosen:
                for pointed, name in ((history.champion, "champion"), (history.canary, "canary")):
                    if pointed and pointed.version == version_id:
                        raise InputError(
                            f"{version_id[:12]} is the {name} of {self.workload} and cannot be retired.",
                            "Retire others.",
                        )
                history = history.extended("retire", version_id, reason=_given(reason), by=by)
            return history

        self._change(decide)
        return chosen

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

    def _nothing_to_go_back_to(self, target: str) -> InputError | IntegrityError:
        absent = self._absent(target)
        remedy = f"name another: reprune rollback {self.workload} --to VERSION; reprune models lists them."
        if isinstance(absent, RetiredError):
            return RetiredError(absent.message, f"To go back, {remedy}")
        return IntegrityError(
            f"Version {target[:12]} of {self.workload}, to go back to, is gone from {self.store.uri}.",
            f"Restore it from a backup, or {remedy}",
        )

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
