"""The examples on which the candidate changed its mind, worst first, a bounded number of them."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST = 24
LARGEST_IMAGE = 256
"""Images beyond this many pixels a side are left out: the page must stay small."""


@dataclass(frozen=True)
class Disagreement:
    """One example that dense and candidate answer differently.

    Attributes:
        index: Its place in the split.
        label: Its class.
        dense: What the dense model said.
        candidate: What the candidate said.
        harm: The candidate's loss minus the dense model's: how much worse its answer is.
        image: The input where it is a picture, ``[C, H, W]`` with one or three channels.
    """

    index: int
    label: int
    dense: int
    candidate: int
    harm: float
    image: np.ndarray | None


class Gallery:
    """Keeps the worst disagreements of a stream of batches."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Disagreement]] = []
        self._seen = 0

    def add(
        self, inputs: Any, labels: np.ndarray, dense: dict[str, np.ndarray], candidate: dict[str, np.ndarray]
    ) -> None:
        """Look through one batch.

        Args:
            inputs: The collated inputs.
            labels: Classes, ``[N]``.
            dense: ``predicted_class`` and ``losses`` of the dense model, ``[N]`` each.
            candidate: The candidate's.
        """
        harm = candidate["losses"] - dense["losses"]
        for row in np.flatnonzero(dense["predicted_class"] != candidate["predicted_class"]):
            index = self._seen + int(row)
            if len(self._heap) == self._most and harm[row] <= self._heap[0][0]:
                continue
            found = Disagreement(
                index=index,
                label=int(labels[row]),
                dense=int(dense["predicted_class"][row]),
                candidate=int(candidate["predicted_class"][row]),
                harm=float(harm[row]),
                image=_image(inputs, int(row)),
            )
            push = heapq.heappush if len(self._heap) < self._most else heapq.heapreplace
            push(self._heap, (found.harm, -index, found))
        self._seen += len(labels)

    def worst(self) -> list[Disagreement]:
        """Return the disagreements, worst first."""
        return [found for _, _, found in sorted(self._heap, key=lambda item: (-item[0], -item[1]))]


def _image(inputs: Any, row: int) -> np.ndarray | None:
    """Return an input as a picture, where it is one."""
    if not (isinstance(inputs, np.ndarray) and inputs.ndim == 4 and np.issubdtype(inputs.dtype, np.floating)):
        return None
    channels, height, width = inputs.shape[1:]
    if channels not in (1, 3) or max(height, width) > LARGEST_IMAGE:
        return None
    return np.array(inputs[row])
