"""Latency of whole graphs while a model is being cut: always in turns with the dense one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from reprune.config.target import Target
from reprune.data.model_io import Inputs, feed
from reprune.inference.latency.quick_latency import measure_latency
from reprune.inference.onnx.export import export

SESSIONS = 3
"""Times that graphs are opened anew for one measurement: where its weights happen to lie in memory makes a session of a
transformer up to a tenth slower or faster for good."""

SECONDS = 0.5
"""Time to measure one graph against the dense one, in each session on each target."""


class Stopwatch:
    """Times models against the dense one.

    Args:
        dense: The dense model.
        inputs: Returns inputs of a given batch size.
        targets: Where the models are served.
        folder: For ONNX files.
    """

    def __init__(
        self, dense: nn.Module, inputs: Callable[[int], Inputs], targets: Sequence[Target], folder: Path
    ) -> None:
        self._inputs = inputs
        self._targets = targets
        self._dense = folder / "dense.onnx"
        self._model = folder / "model.onnx"
        self.size_bytes = self.dense_size_bytes = export(dense, inputs(2), self._dense).size_bytes
        self.dense_seconds = [float(np.median([it["dense"] for it in self._timed(target, {})])) for target in targets]

    def ratios(self, model: nn.Module) -> list[float]:
        """Return the latency of a model as a share of the dense one's on each target; `size_bytes` is its size."""
        self.size_bytes = export(model, self._inputs(2), self._model).size_bytes
        sessions = [self._timed(target, {"model": self._model}) for target in self._targets]
        return [float(np.median([it["model"] / it["dense"] for it in timed])) for timed in sessions]

    def seconds(self, model: nn.Module) -> list[float]:
        """Return the latency of a model on each target, in seconds.

        It is the ratio, measured in turns, of what the dense model took at first, so that figures taken at different
        times can be compared.
        """
        return [ratio * dense for ratio, dense in zip(self.ratios(model), self.dense_seconds, strict=True)]

    def _timed(self, target: Target, others: Mapping[str, Path]) -> list[dict[str, float]]:
        """Return the seconds of each graph in each session."""
        models, inputs = {"dense": self._dense, **others}, feed(self._inputs(target.batch_size))
        return [measure_latency(models, inputs, target, seconds=SECONDS, seed=seed) for seed in range(SESSIONS)]
