"""The order of the work: propose, measure everything a little, and go on only with what is not settled."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reprune.data.datasets import count
from reprune.planning.sensitivity.adaptive_grid import Cells
from reprune.planning.sensitivity.batching import Batch, Chunk, chunks
from reprune.planning.sensitivity.fisher import gate_gradients
from reprune.planning.sensitivity.sampling import Sample
from reprune.planning.sensitivity.suffix_runner import SuffixRunner
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.capture import leaves

RESOLUTION = 0.01
"""A measurement ends when its interval leaves 0 out, or when half of it is this share of the median group's loss at its
narrowest."""

MEMORY_BYTES = 1 << 30

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
        memory_bytes: What the activations of the examples that are run together may take.

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
        *,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._model, self._analysis = model, analysis
        self._pairs, self._loss, self._sample, self._cells = pairs, loss, sample, cells
        self._most = max(1, memory_bytes // _bytes_of_example(analysis))
        self._size = min(len(sample.looks[0]), self._most)
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
        parts = [chunk for chunk, _ in self._chunks(numbers)]
        gates = [self._gates(chunk) for chunk in parts]
        self.spent += 3 * self._runner.layers() * sum(count(chunk.inputs) for chunk in parts)
        squares = (torch.cat(gates).double().square() * torch.tensor(weights, dtype=torch.float64)[:, None]).sum(0)
        offsets = self._runner.analysis.offsets
        return {name: squares[offsets[name] : offsets[name] + cells.dense] for name, cells in self._cells.items()}

    def _gates(self, chunk: Chunk) -> Tensor:
        return gate_gradients(self._runner, chunk.inputs, lambda y: self._loss(chunk.real(y), chunk.targets))

    def measure(self, groups: Collection[str], progress: Progress) -> None:
        """Measure the curves of some groups."""
        if groups:
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
        """Take the first look, which chooses the widths as it goes: one of each group, then another."""
        parts = self._chunks(self._sample.looks[0])
        runs = [self._rises(chunk, groups) for chunk, _ in parts] if len(parts) == 1 else []
        turns = 0
        while wanted := {name: width for name in groups if (width := self._cells[name].next()) is not None}:
            found: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
            for place, (chunk, _) in enumerate(parts):
                rises = runs[place] if runs else self._rises(chunk, list(wanted))
                for name, width in wanted.items():
                    found[name].append(rises(name, width))
            for name, width in wanted.items():
                self._cells[name].add(width, self._sample.looks[0], np.concatenate(found[name]))
            turns += 1
            progress(turns / (turns + 1) / len(self._sample.looks))

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
        size = min(len(numbers), self._most) if self._runner.any_size else self._size
        found = chunks(self._pairs, size, numbers)
        return [(it, list(numbers[i * size : (i + 1) * size])) for i, it in enumerate(found)]

    def _rises(self, chunk: Chunk, groups: Collection[str]) -> Callable[[str, int], np.ndarray]:
        """Run the dense graph on a chunk; return what measures the rises of some groups' losses on it."""
        values = self._runner.dense(chunk.inputs, groups)
        dense, size = self._losses(self._runner.outputs(values), chunk), count(chunk.inputs)
        self.spent += self._runner.layers() * size

        def rises(name: str, width: int) -> np.ndarray:
            self.spent += self._runner.layers(name) * size
            keep = {name: self._cells[name].best(width)}
            return self._losses(self._runner.narrowed(values, keep), chunk) - dense

        return rises

    def _losses(self, outputs: Any, chunk: Chunk) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = self._loss(chunk.real(outputs), chunk.targets).double().cpu().numpy()
        return found


def _bytes_of_example(analysis: Analysis) -> int:
    """Return the bytes of all activations of one example."""
    values = [node.meta.get("val") for node in analysis.capture.module.graph.nodes if node.op == "call_function"]
    tensors = [value for value in values if isinstance(value, Tensor)]
    examples = len(next(leaf for leaf in leaves(analysis.example_inputs) if isinstance(leaf, Tensor)))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) // examples + 1
