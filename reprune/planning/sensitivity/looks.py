"""The order of the work: propose, measure everything a little, and go on only with what is not settled."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reprune.planning.sensitivity.cells import Cells
from reprune.planning.sensitivity.chunks import Batch, Chunk, chunks
from reprune.planning.sensitivity.gates import gate_gradients
from reprune.planning.sensitivity.sampling import Sample
from reprune.planning.sensitivity.suffix import SuffixRunner
from reprune.pruning.groups import Analysis

RESOLUTION = 0.01
"""A measurement ends when its interval leaves 0 out, or when half of it is this share of the median group's loss at its
narrowest."""

Loss = Callable[[Any, Any], Tensor]
Progress = Callable[[float], None]


class Looks:
    """One analysis under way.

    Args:
        model: The dense model.
        analysis: Its groups.
        pairs: Batches of all examples.
        loss: ``(outputs, targets)`` to the loss of each example.
        sample: Which examples are looked at.
        cells: By group.

    Attributes:
        spent: Layers run so far, times examples; a backward pass counts twice.
    """

    def __init__(
        self,
        model: nn.Module,
        analysis: Analysis,
        pairs: list[Batch],
        loss: Loss,
        sample: Sample,
        cells: Mapping[str, Cells],
    ) -> None:
        self._model, self._analysis = model, analysis
        self._pairs, self._loss, self._sample, self._cells = pairs, loss, sample, cells
        self._size = len(sample.looks[0])
        self.spent = 0

    @cached_property
    def _runner(self) -> SuffixRunner:
        first, *_ = chunks(self._pairs, self._size, self._sample.looks[0])
        return SuffixRunner(self._model, self._analysis, first.inputs)

    def fisher(self, numbers: Sequence[int], weights: Sequence[float]) -> dict[str, Tensor]:
        """Return the diagonal Fisher information of each group's gates, ``[cells]``, over some examples.

        Args:
            numbers: The examples.
            weights: With which each stands for all, ``[n]``.
        """
        gates = [self._gates(chunk) for chunk, _ in self._chunks(numbers)]
        self.spent += 3 * self._runner.layers() * self._size * len(gates)
        squares = (torch.cat(gates).double().square() * torch.tensor(weights, dtype=torch.float64)[:, None]).sum(0)
        offsets = self._runner.analysis.offsets
        return {name: squares[offsets[name] : offsets[name] + cells.dense] for name, cells in self._cells.items()}

    def _gates(self, chunk: Chunk) -> Tensor:
        return gate_gradients(self._runner, chunk.inputs, lambda y: self._loss(chunk.real(y), chunk.targets))

    def measure(self, groups: Collection[str], progress: Progress) -> None:
        """Measure the curves of some groups."""
        self._first(groups, progress)
        for number, look in enumerate(self._sample.looks[1:], 1):
            unsettled = self._unsettled()
            if not unsettled:
                break
            for chunk, numbers in self._chunks(look):
                rises = self._rises(chunk, {name for name, _ in unsettled})
                for name, width in unsettled:
                    self._cells[name].add(width, numbers, rises(name, width))
            progress((number + 1) / len(self._sample.looks))
        progress(1.0)

    def _first(self, groups: Collection[str], progress: Progress) -> None:
        """Take the first look, which chooses the widths as it goes."""
        if not groups:
            return
        (chunk, numbers), *_ = self._chunks(self._sample.looks[0])
        rises = self._rises(chunk, groups)
        for done, name in enumerate(groups, 1):
            while (width := self._cells[name].next()) is not None:
                self._cells[name].add(width, numbers, rises(name, width))
            progress(done / len(groups) / len(self._sample.looks))

    def _unsettled(self) -> list[tuple[str, int]]:
        """Return the measurements whose interval is not narrow enough yet."""
        narrowest = [it.estimates[it.grid[0]].mean for it in self._cells.values() if it.estimates]
        resolution = RESOLUTION * max(float(np.median(narrowest)), 0.0) if narrowest else 0.0
        return [
            (name, width)
            for name, cells in self._cells.items()
            for width, it in cells.estimates.items()
            if it.margin > max(abs(it.mean), resolution)
        ]

    def _chunks(self, numbers: Sequence[int]) -> list[tuple[Chunk, list[int]]]:
        found = chunks(self._pairs, self._size, numbers)
        return [(it, list(numbers[i * self._size : (i + 1) * self._size])) for i, it in enumerate(found)]

    def _rises(self, chunk: Chunk, groups: Collection[str]) -> Callable[[str, int], np.ndarray]:
        """Run the dense graph on a chunk; return what measures the rises of some groups' losses on it."""
        values = self._runner.dense(chunk.inputs, groups)
        dense = self._losses(self._runner.outputs(values), chunk)
        self.spent += self._runner.layers() * self._size

        def rises(name: str, width: int) -> np.ndarray:
            self.spent += self._runner.layers(name) * self._size
            keep = {name: self._cells[name].best(width)}
            return self._losses(self._runner.narrowed(values, keep), chunk) - dense

        return rises

    def _losses(self, outputs: Any, chunk: Chunk) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = self._loss(chunk.real(outputs), chunk.targets).double().cpu().numpy()
        return found
