"""One round of the iterative pruner, and what is measured of a model before and after it."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

DOUBT = 1.645
"""Standard errors of the drop that are forgiven: a round has failed only where its drop is surely too large (95 %)."""


@dataclass(frozen=True)
class Judgement:
    """What a model is worth on the validation split.

    Attributes:
        loss: Mean loss.
        scores: Score of each example, ``[N]``.
    """

    loss: float
    scores: np.ndarray

    @property
    def score(self) -> float:
        """Return the mean score."""
        return float(self.scores.mean())

    def surely_below(self, dense: "Judgement", allowed: float) -> bool:
        """Return whether the drop below the dense model, paired by example, is surely larger than allowed."""
        drops = dense.scores - self.scores
        error = float(drops.std(ddof=1)) / len(drops) ** 0.5 if len(drops) > 1 else 0.0
        return float(drops.mean()) - DOUBT * error > allowed


@dataclass(frozen=True)
class Measured:
    """What a model costs on the targets.

    Attributes:
        latency_ratio: Largest latency over all targets, as a share of the dense model's.
        size_bytes: Of the served file.
        excess: The cost as a share of what is allowed, in the budget that it comes nearest to: 1 just holds.
    """

    latency_ratio: float
    size_bytes: int
    excess: float


class Round(BaseModel):
    """What one round of cutting and recovering did."""

    model_config = ConfigDict(frozen=True)

    round: int
    progress: float
    """Share of the cells to cut that are gone, 0 to 1."""
    widths: dict[str, int]
    """Cells of each group that are left."""
    parameters: int
    macs: int
    """Multiply-accumulates on the example inputs."""
    latency_ratio: float
    """Largest measured latency over all targets, as a share of the dense model's."""
    size_bytes: int
    excess: float
    """What it costs as a share of the budget."""
    loss_before: float
    loss_after: float
    """Mean validation loss after the cut, and after recovery."""
    score_before: float
    score_after: float
    """Mean validation score after the cut, and after recovery."""
    drop: float
    """Mean validation score that is missing to the dense model's, after recovery."""
    drop_allowed: float
    recovered: bool
    """Whether the drop is not surely more than what is allowed."""
    epochs: int
    cost: float
    """In dense trainings."""
    cost_so_far: float
    """Of all rounds up to this one."""
    seconds: float

    @property
    def drop_share(self) -> float:
        """Return the drop as a share of what is allowed."""
        return self.drop / self.drop_allowed if self.drop_allowed else 2.0 * (self.drop > 0)

    @property
    def holds(self) -> bool:
        """Return whether the measured budget holds."""
        return self.excess <= 1

    @property
    def worth(self) -> tuple[bool, bool, bool, float, float]:
        """Return what rounds are ranked by: all holds, the budget does, the score does; then how nearly, how well."""
        holds, recovered = self.holds, self.recovered
        return holds and recovered, holds, recovered, -max(self.excess, 1.0), self.score_after

    def verdict(self) -> str:
        """Return what is to be said of the round when it is chosen."""
        cost = f"it takes {self.latency_ratio:.2f}x of the dense latency, {self.excess:.2f} of the budget"
        lost = f"{100 * self.drop:.1f} points below dense on validation, {100 * self.drop_allowed:.1f} allowed"
        if self.holds and self.recovered:
            return f"round {self.round} satisfies everything: {cost}, and is {lost}"
        if self.holds:
            return f"no round satisfies everything; round {self.round} holds the budget, but is {lost}"
        if self.recovered:
            return f"no round holds the budget; of those that recovered, round {self.round} comes nearest: {cost}"
        return f"no round holds the budget or recovered; round {self.round} comes nearest: {cost}, and is {lost}"
