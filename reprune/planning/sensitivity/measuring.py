"""Curves of all groups, measured on few examples at few widths, where the gates say that it matters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reprune.errors import InputError
from reprune.planning.sensitivity.chunks import Batch, Chunk, chunks
from reprune.planning.sensitivity.curves import Curve, CurvePoint, Sensitivity
from reprune.planning.sensitivity.gates import gate_gradients
from reprune.planning.sensitivity.sampling import Estimate, Sample
from reprune.planning.sensitivity.suffix import SuffixRunner
from reprune.pruning import score
from reprune.pruning.capture import evaluating
from reprune.pruning.groups import Analysis, Group
from reprune.structure import call

RATIOS = tuple(np.arange(1, 10) / 10)
"""Shares of a group's cells that go, at which its curve has points."""

MOST_MEASURED = 7
"""Of these points, how many are measured at most; the others lie between them in the shape that the gates propose."""

EXAMPLES = 160

PRECISION = 0.5
"""A measurement ends when half its interval is this share of what it found ..."""

RESOLUTION = 0.01
"""... or this share of the median group's loss at its narrowest."""

Loss = Callable[[Any, Any], Tensor]
Progress = Callable[[float], None]


def analyze_sensitivity(
    model: nn.Module,
    analysis: Analysis,
    batches: Iterable[Batch],
    loss: Loss,
    *,
    widths: Mapping[str, Sequence[int]] | None = None,
    criterion: str = "taylor",
    saliency: Mapping[str, Tensor] | None = None,
    examples: int = EXAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sensitivity:
    """Cut each group alone to several widths, least important cells first, and measure the loss on the same examples.

    The dense model is run on all examples; narrowed ones on a sample of them, that grows until the interval of each
    measurement is narrow enough.

    Args:
        model: The dense model; left as it is.
        analysis: Its groups, as `reprune.pruning.analyze` finds them.
        batches: Inputs and targets; the validation split.
        loss: ``(outputs, targets)`` to the loss of each example, ``[N]``.
        widths: Widths to measure, by group; for other groups points are made at nine widths, of which the gates choose
            those that are measured.
        criterion: Saliency that ranks the cells, computed on the same batches.
        saliency: Saliency of each group's cells, ``[cells]``, where it is known already.
        examples: Most examples that a narrowed model is run on.
        seed: Of the choice of examples.
        progress: Called with the share of the work done, 0 to 1.

    Raises:
        InputError: There are fewer than two examples.
    """
    pairs = list(batches)
    dense = _losses(model, pairs, loss)
    if len(dense) < 2:
        raise InputError(f"{len(dense)} examples cannot give an error bar.", "Hand in more examples, 128 or more.")
    if saliency is None:
        saliency = score(model, analysis, criterion, pairs, loss=lambda outputs, targets: loss(outputs, targets).mean())
    run = _Run(model, analysis, pairs, loss, Sample(dense, examples, seed), widths or {}, saliency)
    run.all_looks(progress or (lambda _: None))
    layers = len(analysis.operators)
    points = sum(len(cells.grid) for cells in run.cells.values())
    return Sensitivity(
        criterion=criterion,
        examples=len(dense),
        dense_loss=float(dense.mean()),
        curves={name: cells.curve() for name, cells in run.cells.items()},
        layer_evaluations=run.spent + layers * len(dense),
        exhaustive_layer_evaluations=layers * len(dense) * (points + 1),
    )


class _Cells:
    """The widths of one group, and what was measured there."""

    def __init__(self, group: Group, saliency: Tensor, widths: Sequence[int] | None, sample: Sample) -> None:
        self.name = group.name
        self.dense = group.width
        self.order = torch.argsort(saliency, descending=True, stable=True)
        self.chosen = widths is not None
        self.grid = sorted({*(widths or (max(1, round((1 - ratio) * group.width)) for ratio in RATIOS))} - {self.dense})
        self.rises: dict[int, np.ndarray] = {}
        self.estimates: dict[int, Estimate] = {}
        self.numbers: dict[int, list[int]] = {}
        self.proposed = {width: float(self.dense - width) for width in self.grid}
        self._sample = sample

    def keep(self, width: int) -> dict[str, list[int]]:
        return {self.name: self.order[:width].sort().values.tolist()}

    def propose(self, squares: Tensor) -> None:
        """Take over the shape that the gates propose: the diagonal Fisher information of what goes."""
        removed = squares[self.order].flip(0).cumsum(0).flip(0)
        if float(removed[0]) > 0:
            self.proposed = {width: float(removed[width]) for width in self.grid}

    def add(self, width: int, numbers: list[int], rises: np.ndarray) -> None:
        self.numbers[width] = self.numbers.get(width, []) + numbers
        self.rises[width] = np.concatenate([self.rises.get(width, np.empty(0)), rises])
        self.estimates[width] = self._sample.estimate(self.numbers[width], self.rises[width])

    def next(self) -> int | None:
        """Return the width to measure next, if any: where the largest drop between two measured ones is halved."""
        if self.chosen:
            return next((width for width in self.grid if width not in self.estimates), None)
        if not self.estimates:
            return self.grid[0] if self.grid else None
        if len(self.estimates) >= MOST_MEASURED:
            return None
        ends = [*sorted(self.estimates), self.dense]
        best: tuple[float, int] | None = None
        for left, right in zip(ends, ends[1:], strict=False):
            between = [width for width in self.grid if left < width < right]
            drop, noise = self._drop(left, right)
            if between and drop > noise and (best is None or drop > best[0]):
                middle = (self.proposed[left] + self.proposed.get(right, 0.0)) / 2
                best = drop, min(between, key=lambda width: abs(self.proposed[width] - middle))
        return best[1] if best else None

    def _drop(self, left: int, right: int) -> tuple[float, float]:
        """Return by how much the loss falls between two measured widths, and the margin of that; they are paired."""
        wider = self.rises.get(right, np.zeros(len(self.rises[left])))
        shared = min(len(wider), len(self.rises[left]))
        found = self._sample.estimate(self.numbers[left][:shared], self.rises[left][:shared] - wider[:shared])
        return found.mean, found.standard_error

    def curve(self) -> Curve:
        measured = sorted(self.estimates)
        points = []
        for width in self.grid:
            if width in self.estimates:
                it = self.estimates[width]
                interval = (it.mean - it.margin, it.mean + it.margin)
                error, mean, count = it.standard_error, it.mean, len(self.numbers[width])
            else:
                mean, error, interval = self._between(width, measured)
                count = 0
            points.append(
                CurvePoint(width=width, loss_increase=mean, standard_error=error, interval=interval, examples=count)
            )
        return Curve(dense_width=self.dense, points=tuple(points))

    def _between(self, width: int, measured: list[int]) -> tuple[float, float, tuple[float, float]]:
        """Return a point between measured ones: in the gates' shape, and anywhere between what bounds it."""
        left = max(it for it in measured if it < width)
        right = min((it for it in measured if it > width), default=self.dense)
        a = self.estimates[left]
        b = self.estimates.get(right, Estimate(0.0, 0.0, 0.0))
        low, high = self.proposed.get(right, 0.0), self.proposed[left]
        share = (self.proposed[width] - low) / (high - low) if high > low else (right - width) / (right - left)
        mean = b.mean + share * (a.mean - b.mean)
        interval = min(a.mean - a.margin, b.mean - b.margin), max(a.mean + a.margin, b.mean + b.margin)
        error = (interval[1] - interval[0]) / 4
        return mean, error, interval


class _Run:
    """One analysis under way."""

    def __init__(
        self,
        model: nn.Module,
        analysis: Analysis,
        pairs: list[Batch],
        loss: Loss,
        sample: Sample,
        widths: Mapping[str, Sequence[int]],
        saliency: Mapping[str, Tensor],
    ) -> None:
        self._pairs, self._loss, self._sample, self._analysis = pairs, loss, sample, analysis
        self._size = len(sample.looks[0])
        first = chunks(pairs, self._size, sample.looks[0])[0]
        self._runner = SuffixRunner(model, analysis, first.inputs)
        self.cells = {
            group.name: _Cells(group, saliency[group.name], widths.get(group.name), sample)
            for group in self._in_order(analysis)
        }
        self.spent = 0

    def _in_order(self, analysis: Analysis) -> list[Group]:
        return list(analysis.groups)

    def all_looks(self, progress: Progress) -> None:
        self._first_look(progress)
        for number, look in enumerate(self._sample.looks[1:], 1):
            unsettled = self._unsettled()
            if not unsettled:
                break
            for chunk, numbers in self._chunks(look):
                dense, rises = self._dense(chunk, {name for name, _ in unsettled})
                for name, width in unsettled:
                    self.cells[name].add(width, numbers, rises(name, width))
            progress((number + 1) / len(self._sample.looks))
        progress(1.0)

    def _first_look(self, progress: Progress) -> None:
        (chunk, numbers), *_ = self._chunks(self._sample.looks[0])
        self._propose(chunk, numbers)
        _, rises = self._dense(chunk, set(self.cells))
        for done, (name, cells) in enumerate(self.cells.items(), 1):
            while (width := cells.next()) is not None:
                cells.add(width, numbers, rises(name, width))
            progress(done / len(self.cells) / len(self._sample.looks))

    def _unsettled(self) -> list[tuple[str, int]]:
        """Return the measurements whose interval is not narrow enough yet."""
        narrowest = [cells.estimates[cells.grid[0]].mean for cells in self.cells.values() if cells.grid]
        resolution = RESOLUTION * max(float(np.median(narrowest)), 0.0)
        return [
            (name, width)
            for name, cells in self.cells.items()
            for width, it in cells.estimates.items()
            if it.margin > max(PRECISION * abs(it.mean), resolution)
        ]

    def _chunks(self, look: list[int]) -> list[tuple[Chunk, list[int]]]:
        found = chunks(self._pairs, self._size, look)
        return [(it, look[i * self._size : i * self._size + it.size]) for i, it in enumerate(found)]

    def _propose(self, chunk: Chunk, numbers: list[int]) -> None:
        gates = gate_gradients(self._runner, chunk.inputs, lambda y: self._loss(chunk.real(y), chunk.targets))
        weights = torch.from_numpy(self._sample.example_weights(numbers))
        squares = (gates.double().square() * weights[:, None]).sum(0)
        for name, start in self._analysis.offsets.items():
            self.cells[name].propose(squares[start : start + self.cells[name].dense])
        self.spent += 3 * self._runner.layers() * self._size

    def _dense(self, chunk: Chunk, groups: set[str]) -> tuple[Any, Callable[[str, int], np.ndarray]]:
        """Run the dense graph on a chunk; return a function that measures rises on it."""
        values = self._runner.dense(chunk.inputs, groups)
        dense = self._losses(self._runner.outputs(values), chunk)
        self.spent += self._runner.layers() * self._size

        def rises(name: str, width: int) -> np.ndarray:
            self.spent += self._runner.layers(name) * self._size
            return self._losses(self._runner.narrowed(values, self.cells[name].keep(width)), chunk) - dense

        return values, rises

    def _losses(self, outputs: Any, chunk: Chunk) -> np.ndarray:
        with torch.no_grad():
            return self._loss(chunk.real(outputs), chunk.targets).double().cpu().numpy()


def _losses(model: nn.Module, batches: list[Batch], loss: Loss) -> np.ndarray:
    """Return the loss of each example in evaluation mode, ``[examples]``."""
    with evaluating(model):
        found = [loss(call(model, inputs), targets).double().cpu().numpy() for inputs, targets in batches]
    return np.concatenate([np.empty(0), *found])
