"""How much the loss rises as each group narrows, with error bars, paired on the same examples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from reprune.errors import InputError
from reprune.pruning import cut, score
from reprune.pruning.groups import Analysis
from reprune.structure import Inputs, call

SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
"""Shares of a group's width that its curve is measured at, until one is reached that loses nothing."""

TIE_BREAK = 1e-4
"""Loss that a plan is charged for removing all of a group whose removal showed none: where nothing is to be gained,
nothing is cut."""

Batch = tuple[Inputs, Any]
Loss = Callable[[Any, Any], Tensor]
Narrow = Callable[[nn.Module, Mapping[str, Sequence[int]]], nn.Module]
Progress = Callable[[float], None]


class CurvePoint(BaseModel):
    """One measurement.

    Attributes:
        width: Cells kept.
        loss_increase: Mean over examples of the cut model's loss minus the dense model's.
        standard_error: Of that mean; the examples are paired.
    """

    model_config = ConfigDict(frozen=True)

    width: int
    loss_increase: float
    standard_error: float


class Curve(BaseModel):
    """Loss against width for one group; every other group is dense.

    Attributes:
        dense_width: Cells of the dense model.
        points: Measurements, by ascending width.
    """

    model_config = ConfigDict(frozen=True)

    dense_width: int
    points: tuple[CurvePoint, ...]

    def loss(self, width: int) -> float:
        """Return the predicted rise in loss at any width, never rising with the width and 0 at the dense one.

        Between measured widths it is linear, below the least it goes on in proportion to what is removed.
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
        examples: Examples that losses were measured on.
        dense_loss: Mean loss of the dense model on them.
        curves: By group.
    """

    model_config = ConfigDict(frozen=True)

    criterion: str
    examples: int
    dense_loss: float
    curves: dict[str, Curve]

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


def analyze_sensitivity(
    model: nn.Module,
    analysis: Analysis,
    batches: Iterable[Batch],
    loss: Loss,
    *,
    widths: Mapping[str, Sequence[int]] | None = None,
    criterion: str = "taylor",
    saliency: Mapping[str, Tensor] | None = None,
    narrow: Narrow | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Cut each group alone to several widths, least important cells first, and measure the loss on the same examples.

    Args:
        model: The dense model; left as it is.
        analysis: Its groups, as `reprune.pruning.analyze` finds them.
        batches: Inputs and targets; a bounded subset of the validation split.
        loss: ``(outputs, targets)`` to the loss of each example, ``[N]``.
        widths: Widths to measure by group; by default eighths of the dense width, from the narrowest to the first one
            that loses nothing.
        criterion: Saliency that ranks the cells, computed on the same batches.
        saliency: Saliency of each group's cells, ``[cells]``, where it is known already.
        narrow: Returns a copy of the model with only the given cells of some groups; by default the engine's cut.
        progress: Called with the share of the groups done, 0 to 1.

    Raises:
        InputError: There are fewer than two examples.
    """
    examples = list(batches)
    dense = _losses(model, examples, loss)
    if len(dense) < 2:
        raise InputError(f"{len(dense)} examples cannot give an error bar.", "Hand in more examples, 128 or more.")
    narrow = narrow or _cutter(analysis)
    if saliency is None:
        saliency = score(
            model, analysis, criterion, examples, loss=lambda outputs, targets: loss(outputs, targets).mean()
        )
    curves = {}
    for k, group in enumerate(analysis.groups):
        order = torch.argsort(saliency[group.name], descending=True, stable=True)
        wanted = (widths or {}).get(group.name)
        points: list[CurvePoint] = []
        for width in sorted(set(wanted or _default_widths(group.width))):
            keep = order[:width].sort().values.tolist()
            rise = _losses(narrow(model, {group.name: keep}), examples, loss) - dense
            points.append(_point(width, rise))
            if not wanted and points[-1].loss_increase <= points[-1].standard_error:
                break  # wider than this loses no more
        curves[group.name] = Curve(dense_width=group.width, points=tuple(points))
        if progress is not None:
            progress((k + 1) / len(analysis.groups))
    return Sensitivity(criterion=criterion, examples=len(dense), dense_loss=float(dense.mean()), curves=curves)


def _default_widths(dense: int) -> list[int]:
    return sorted({max(round(share * dense), 1) for share in SHARES} - {dense})


def _cutter(analysis: Analysis) -> Narrow:
    def narrow(model: nn.Module, keep: Mapping[str, Sequence[int]]) -> nn.Module:
        return cut(model, analysis, keep)[0]

    return narrow


def _point(width: int, rise: np.ndarray) -> CurvePoint:
    error = float(rise.std(ddof=1) / np.sqrt(len(rise)))
    return CurvePoint(width=width, loss_increase=float(rise.mean()), standard_error=error)


def _losses(model: nn.Module, batches: list[Batch], loss: Loss) -> np.ndarray:
    """Return the loss of each example in evaluation mode, ``[examples]``; the model's mode is put back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            found = [loss(call(model, inputs), targets).double().cpu().numpy() for inputs, targets in batches]
    finally:
        for module, training in modes.items():
            module.training = training
    return np.concatenate([np.empty(0), *found])
