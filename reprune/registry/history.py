"""Who was champion, when and why, and what is on trial: one document, so that pointer and history move in one write."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from reprune import hashing
from reprune.errors import IntegrityError

FORMAT = 1
FORMAT_WITH_RETIREMENTS = 2
"""A reprune that knows no retirements could make a retired version the champion, so it must refuse the document."""

Action = Literal["promote", "rollback", "canary", "withdraw", "retire"]
CHAMPION_MOVES = ("promote", "rollback")


class Move(BaseModel):
    """One move of the champion pointer or of the canary's, or the retirement of a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique, so that a writer whose answer was lost can find out whether its move was made."""

    sequence: int = Field(ge=1)
    action: Action
    version: str
    """The champion from here on, the version that goes on trial or is taken off it, or the one that is retired."""

    previous: str | None
    """The champion until here."""

    percent: int | None = Field(None, ge=0, le=99)
    """Share of the traffic that a canary is to answer; 0 is a shadow, whose answers nobody sees."""

    at: AwareDatetime
    """In UTC."""

    reason: str
    by: str = ""
    """The run or the person that made the move."""


class Champion(BaseModel):
    """The version in production, as of one reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    sequence: int
    """Number of moves so far: what a promotion is compared with."""

    since: AwareDatetime
    """In UTC."""

    reason: str
    by: str = ""

    @property
    def short(self) -> str:
        """The first digits of the version, as people are shown it."""
        return self.version[:12]


class Canary(BaseModel):
    """A version on trial beside the champion, as of one reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    percent: int
    """Share of the traffic that it is to answer; 0 is a shadow, whose answers nobody sees."""

    since: AwareDatetime
    """In UTC."""

    reason: str
    by: str = ""

    @property
    def short(self) -> str:
        """The first digits of the version, as people are shown it."""
        return self.version[:12]


class History(BaseModel):
    """All moves, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    moves: tuple[Move, ...] = ()

    @property
    def champion_moves(self) -> list[Move]:
        """The moves of the champion pointer alone."""
        return [move for move in self.moves if move.action in CHAMPION_MOVES]

    @property
    def champion(self) -> Champion | None:
        """The champion after the last move."""
        moves = self.champion_moves
        if not moves:
            return None
        last = moves[-1]
        return Champion(version=last.version, sequence=last.sequence, since=last.at, reason=last.reason, by=last.by)

    @property
    def canary(self) -> Canary | None:
        """The version on trial; it was compared with the champion, so any move of the champion ends its trial."""
        last = next((move for move in reversed(self.moves) if move.action != "retire"), None)
        if last is None or last.action != "canary" or last.percent is None:
            return None
        return Canary(version=last.version, percent=last.percent, since=last.at, reason=last.reason, by=last.by)

    def standing(self) -> list[str]:
        """Return the promotions that still stand, the champion's last.

        A promotion puts its version on top. A rollback takes off what lies above the version it returns to, so that one
        rollback after another walks back through the promotions instead of toggling between two. Returning to a version
        that was taken off already puts it on top again.
        """
        stack: list[str] = []
        for move in self.champion_moves:
            if move.action == "rollback" and move.version in stack[:-1]:
                below = len(stack) - 1
                while stack[below - 1] != move.version:
                    below -= 1
                del stack[below:]
            else:
                stack.append(move.version)
        return stack

    def retirements(self, version: str) -> int:
        """Return how often a version was retired; each retirement is the end of one copy of its files."""
        return sum(move.action == "retire" and move.version == version for move in self.moves)

    def retirement(self, version: str) -> Move | None:
        """Return the last retirement of a version, or None."""
        return next((it for it in reversed(self.moves) if it.action == "retire" and it.version == version), None)

    def extended(self, action: Action, version: str, *, reason: str, by: str, percent: int | None = None) -> "History":
        """Return the history with one more move, made now."""
        champion = self.champion
        move = Move(
            id=uuid.uuid4().hex,
            sequence=len(self.moves) + 1,
            action=action,
            version=version,
            previous=champion.version if champion else None,
            percent=percent,
            at=datetime.now(UTC),
            reason=reason,
            by=by,
        )
        return History(moves=(*self.moves, move))

    def dump(self) -> bytes:
        """Return the document, with a digest over all moves."""
        moves = self.model_dump(mode="json")["moves"]
        retired = any(move.action == "retire" for move in self.moves)
        version = FORMAT_WITH_RETIREMENTS if retired else FORMAT
        return json.dumps({"format": version, "sha256": _digest(version, moves), "moves": moves}, indent=2).encode()

    @classmethod
    def load(cls, stored: bytes, *, where: str) -> "History":
        """Read the document.

        Raises:
            IntegrityError: It is damaged, or of a format to come.
        """
        try:
            document = json.loads(stored)
            version = document["format"]
            if version not in (FORMAT, FORMAT_WITH_RETIREMENTS):
                raise IntegrityError(f"{where} has format {version!r}.", "Upgrade reprune.")
            if _digest(version, document["moves"]) != document["sha256"]:
                raise ValueError("its moves are not what its sha256 says")
            history = cls(moves=document["moves"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            unlike = isinstance(error, ValidationError | KeyError | TypeError | RecursionError)
            problem = "it is no history" if unlike else str(error)
            raise IntegrityError(f"{where} is damaged: {problem}.", "Restore this file from a backup.") from None
        if not history.moves:
            raise IntegrityError(f"{where} is damaged: it has no moves.", "Restore this file from a backup.")
        return history


def _digest(version: int, moves: Any) -> str:
    return hashing.of_json(moves if version == FORMAT else {"format": version, "moves": moves})
