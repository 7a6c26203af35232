"""From the sum of a model's operators to the latency of its whole graph, learned from the graphs that were measured."""

from collections.abc import Sequence

import numpy as np

SLOPE_SPREAD = 0.15
"""How far the operators of a graph may take more or less than they took alone, as a share of it."""

OFFSET_SPREAD = 0.05
"""What a graph may take at no width at all beyond the cost of a call, as a share of the dense latency."""

REST_SPREAD = 0.2
"""What the operators that are not in the table (activations, attention, norms) may take, as a share likewise."""

EXACT = 100.0
"""Weight of a measured graph against these expectations."""


class WholeGraph:
    """The latency of whole graphs on one target.

    Latency is modelled as the operators' sum times a slope, plus an offset, plus what each kind of activation takes for
    every element: that is how activations, attention and norms, which no table holds, shrink with the widths. All
    are at least nothing, and as near to what is expected of any model as the measurements allow (ridge regression on
    relative errors). The latest measured graph is met exactly, since the next plan lies close to it.

    Args:
        dense_sum: Sum of the dense model's operators, in seconds.
        dense_elements: Elements of its activations, ``[kinds]``.
        overhead: What a call takes, in seconds.
    """

    def __init__(self, dense_sum: float, dense_elements: np.ndarray, overhead: float) -> None:
        self._dense = np.array([dense_sum, 1.0, *dense_elements])
        self._overhead = overhead
        self._rows: list[np.ndarray] = []
        self._seconds: list[float] = []
        self._anchor = 1.0
        self._rates = np.array([1.0, 0.0, *np.zeros(len(dense_elements))])

    @property
    def rates(self) -> np.ndarray:
        """Return seconds an element of each kind takes, for each second that the operators' sum counts, ``[kinds]``."""
        return np.asarray(self._rates[2:] / self._rates[0])

    def latency(self, summed: float) -> float:
        """Return the whole graph's latency, where the sum has the activations in it at their rates."""
        return float(self._anchor * (self._rates[0] * summed + self._rates[1]))

    def summed(self, seconds: float) -> float:
        """Return the sum, with the activations in it, that makes a whole graph of some latency."""
        return float((seconds / self._anchor - self._rates[1]) / self._rates[0])

    def learn(self, summed: float, elements: Sequence[float] | np.ndarray, seconds: float) -> None:
        """Take in a measured graph.

        Args:
            summed: Sum of its operators alone, in seconds.
            elements: Elements of its activations, ``[kinds]``.
            seconds: Its latency.
        """
        self._rows.append(np.array([summed, 1.0, *elements]))
        self._seconds.append(seconds)
        self._rates = self._fitted()
        self._anchor = seconds / float(self._rows[-1] @ self._rates)

    def _fitted(self) -> np.ndarray:
        from scipy.optimize import nnls

        seconds = np.array(self._seconds)
        overhead = min(self._overhead, 0.5 * float(seconds.min()))
        spread = np.full(len(self._dense), REST_SPREAD)
        spread[:2] = SLOPE_SPREAD, OFFSET_SPREAD
        scale = spread * seconds[0] / np.maximum(self._dense, 1e-30)  # of each rate
        expected = np.zeros(len(self._dense))
        expected[0] = 1.0
        seen = EXACT * np.array(self._rows) / seconds[:, None]
        left = np.concatenate([seen * scale, np.eye(len(scale))])
        right = np.concatenate([EXACT * (1 - overhead / seconds), expected / scale])
        found: np.ndarray = nnls(left, right)[0] * scale
        found[0] = max(found[0], 0.1)  # operators that cost nothing would leave nothing to plan
        found[1] += overhead
        return found
