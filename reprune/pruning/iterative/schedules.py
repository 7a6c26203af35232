"""How far each round goes: by a schedule that is fixed beforehand, or as recovery allows.

A pace is a function of the rounds that are over, and of nothing else: a run that is taken up again goes the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Schedule = Literal["one-shot", "constant", "cubic", "agp"]

FIRST = 0.5
"""Share of the way that the first round goes when the pace follows recovery."""

EASY = 0.25
"""Recovery was easy where no more than this share of the drop allowed is left: the next step is twice as long ..."""

HARD = 0.5
"""... and hard where more than this share of it is left: the next step is half as long."""

SHORTEST = 1 / 16
"""When a cut of even this share of the way cannot be recovered from, no further one is tried."""


class Past(Protocol):
    """What a pace looks at in a round."""

    @property
    def progress(self) -> float:
        """Share of the way that was gone then, 0 to 1."""

    @property
    def drop_share(self) -> float:
        """Drop that was left after recovery, as a share of the drop allowed."""

    @property
    def recovered(self) -> bool:
        """Whether the round was recovered from; else the next goes on from the one before."""


class Pace(Protocol):
    """Decides how far the next round goes."""

    def following(self, rounds: Sequence[Past]) -> Sequence[float]:
        """Return the shares of the way at which to cut next, the nearest first; empty to go no further.

        A later one is taken where an earlier one would not cut a single channel.
        """

    def ahead(self, rounds: Sequence[Past]) -> int:
        """Return how many rounds are still to come, as far as can be told."""

    def epochs(self, epochs: int) -> int:
        """Return the epochs of recovery in each round, of those that the workload asks for."""


@dataclass(frozen=True)
class Fixed:
    """A number of rounds that is known beforehand; a round that cannot be recovered from is the last.

    Attributes:
        schedule: How the cells to cut are shared out.
        rounds: Rounds of recovery.
        recovery: Epochs of each.
    """

    schedule: Schedule
    rounds: int
    recovery: int

    def following(self, rounds: Sequence[Past]) -> Sequence[float]:
        """Return what is left of the schedule."""
        if rounds and not rounds[-1].recovered:
            return ()
        reached = rounds[-1].progress if rounds else 0.0
        return [share for share in self._shares() if share > reached]

    def ahead(self, rounds: Sequence[Past]) -> int:
        """Return how many cuts of the schedule are left."""
        return len(self.following(rounds))

    def epochs(self, epochs: int) -> int:
        """Return the epochs after each cut: as many in all, whatever the schedule."""
        return {"one-shot": epochs * self.rounds, "agp": 1}.get(self.schedule, epochs)

    def _shares(self) -> list[float]:
        cuts = {"one-shot": 1, "agp": self.rounds * self.recovery}.get(self.schedule, self.rounds)
        return [share_at(self.schedule, number / cuts) for number in range(1, cuts + 1)]


@dataclass(frozen=True)
class Following:
    """As recovery allows: longer steps while it is easy, shorter ones when it is not; what failed is undone."""

    def following(self, rounds: Sequence[Past]) -> Sequence[float]:
        """Return where the next step leads, and where longer ones would; nowhere as far as what just failed."""
        reached, step, failed = 0.0, FIRST, 1.0 + SHORTEST
        for done in rounds:
            if not done.recovered:
                step, failed = (done.progress - reached) / 2, done.progress
                continue
            reached, failed = done.progress, 1.0 + SHORTEST
            step = max(step * (2.0 if done.drop_share <= EASY else 0.5 if done.drop_share > HARD else 1.0), SHORTEST)
        if reached >= 1 or step < SHORTEST:
            return ()
        steps = int((1 - SHORTEST - reached) / step)
        shares = [reached + number * step for number in range(1, steps + 1)]
        return [share for share in (*shares, 1.0) if share < failed]

    def ahead(self, rounds: Sequence[Past]) -> int:
        """Return how many steps as long as the next one are left."""
        return len(self.following(rounds))

    def epochs(self, epochs: int) -> int:
        """Return the epochs that the workload asks for."""
        return epochs


def share_at(schedule: Schedule, time: float) -> float:
    """Return the share of the cells that are cut after a share of the rounds.

    ``cubic`` and ``agp`` follow Zhu and Gupta (2017, arXiv:1710.01878): most goes early, while there is much that is
    not needed.
    """
    return time if schedule == "constant" else 1 - (1 - time) ** 3
