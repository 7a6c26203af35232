"""How much the loss rises as each group narrows, with error bars, paired on the same examples."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.errors import InputError

TIE_BREAK = 1e-4
"""Loss that a plan is charged for removing all of a group whose removal showed none: where nothing is to be gained,
nothing is cut."""


class CurvePoint(BaseModel):
    """What is known at one width.

    Attributes:
        width: Cells kept.
        loss_increase: Mean over examples of the cut model's loss minus the dense model's.
        standard_error: Of that mean; the examples are paired.
        interval: 95 % interval for the mean over the whole data, whatever was looked at before the measurement ended.
        examples: Examples that it was measured on; 0 where it lies between measured widths.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    width: int
    loss_increase: float
    standard_error: float
    interval: tuple[float, float] | None = None
    examples: int = 0


class Curve(BaseModel):
    """Loss against width for one group; every other group is dense.

    Attributes:
        dense_width: Cells of the dense model.
        points: By ascending width.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    dense_width: int
    points: tuple[CurvePoint, ...]

    def loss(self, width: int) -> float:
        """Return the predicted rise in loss at any width, never rising with the width and 0 at the dense one.

        Between its points it is linear, below the least it goes on in proportion to what is removed.
        """
        widths, losses = self._fitted
        if width < widths[0]:
            return losses[0] * (self.dense_width - width) / max(self.dense_width - widths[0], 1)
        return float(np.interp(width, widths, losses))

    @cached_property
    def _fitted(self) -> tuple[list[int], list[float]]:
        """Isotonic regression by pooling adjacent violators, weighted by precision; the dense width costs nothing."""
        least_error = max((p.standard_error for p in self.points), default=0.0) * 1e-3 + 1e-12
        pools = [[p.loss_increase, (p.standard_error + least_error) ** -2, 1] for p in self.points]
        merged: list[list[float]] = []
        for pool in pools:
            merged.append(pool)
            while len(merged) > 1 and merged[-1][0] > merged[-2][0]:
                (right, w_right, n_right), (left, w_left, n_left) = merged.pop(), merged.pop()
                weight = w_left + w_right
                merged.append([(left * w_left + right * w_right) / weight, weight, n_left + n_right])
        losses = [max(value, 0.0) for value, _, count in merged for _ in range(int(count))]
        widths = [p.width for p in self.points]
        if not widths or widths[-1] < self.dense_width:
            widths, losses = [*widths, self.dense_width], [*losses, 0.0]
        return widths, losses


class Sensitivity(BaseModel):
    """The curves of all groups of a model.

    Attributes:
        criterion: Saliency that chose which cells go first.
        examples: Examples that the dense loss is over, and that each rise of the loss is meant for.
        dense_loss: Mean loss of the dense model on them.
        curves: By group.
        reused: Groups whose curves were measured on an earlier model, and still hold.
        layer_evaluations: What it cost: layers run, times examples; a backward pass counts twice.
        exhaustive_layer_evaluations: What running the whole model at every width on every example would have cost.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    criterion: str
    examples: int
    dense_loss: float
    curves: dict[str, Curve]
    reused: tuple[str, ...] = ()
    layer_evaluations: int = 0
    exhaustive_layer_evaluations: int = 0

    def losses(self, group: str, widths: Sequence[int]) -> np.ndarray:
        """Return what a planner is charged for each width of a group, ``[widths]``: strictly falling with the width.

        Raises:
            InputError: The group was never measured.
        """
        if group not in self.curves:
            raise InputError(f"There is no sensitivity of group {group!r}.", "Analyze the sensitivity of this model.")
        curve = self.curves[group]
        removed = 1 - np.asarray(widths) / curve.dense_width
        return np.array([curve.loss(width) for width in widths]) + TIE_BREAK * removed
