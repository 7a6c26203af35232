"""Noticing that a training diverges, while the last good state is still at hand."""

import math
from dataclasses import asdict, dataclass
from typing import Any

EXPLODED = 100.0
"""A loss this many times that of the first step has exploded."""

FLOOR = 0.1
"""Where the first loss is smaller (a model that knows its data already), it is taken for this, so that a high learning
rate may disturb such a model for a while."""

ASTRAY = 2.0
"""A state whose loss is this many times that of the first step is none to go back to."""

STEPS = 5
"""Steps in a row that the loss must be that high: one strange batch is no divergence."""

ROLLBACKS = 3
"""How often a training may go back to its last good state."""

CUT = 0.25
"""What the learning rate is multiplied by each time."""


class Diverged(Exception):
    """The loss or the gradient is no longer of use; the message says which."""


@dataclass
class Guard:
    """Watches the loss of each step.

    Attributes:
        first: Loss of the first step.
        high: Steps in a row on which the loss was too high.
        rollbacks: How often the training went back.
    """

    first: float = math.nan
    high: int = 0
    rollbacks: int = 0

    @property
    def rate_scale(self) -> float:
        """What the learning rate is to be multiplied by."""
        return float(CUT**self.rollbacks)

    def watch(self, loss: float) -> None:
        """Take note of a step's loss.

        Raises:
            Diverged: It is not finite, or has been too high for several steps.
        """
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss}")
        if math.isnan(self.first):
            self.first = loss
        self.high = self.high + 1 if loss > EXPLODED * max(self.first, FLOOR) else 0
        if self.high >= STEPS:
            raise Diverged(f"the training loss rose from {self.first:.3g} to {loss:.3g}")

    def trusts(self, loss: float | None) -> bool:
        """Return whether a state with this mean loss is worth going back to: it did not run away already."""
        return loss is not None and loss <= ASTRAY * max(self.first, FLOOR)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return asdict(self) | {"first": None if math.isnan(self.first) else self.first}

    def restore(self, state: dict[str, Any]) -> None:
        """Take on a kept state; the count of rollbacks never falls."""
        self.first = math.nan if state["first"] is None else state["first"]
        self.high = state["high"]
        self.rollbacks = max(self.rollbacks, state["rollbacks"])
