"""Which examples a rise of the loss is measured on, and what they say of all examples.

A narrowed model loses most on the few examples that the dense model was least sure of, so a plain random subset has far
too wide, and too optimistic, error bars. Examples are sorted into strata by their dense loss, the hardest in a small
stratum and each next one twice as large, and as many are drawn from each (stratified sampling with disproportionate
allocation: Cochran 1977, Sampling Techniques, chapter 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

HARDEST = 32
"""Examples in the stratum of the hardest; each next stratum is twice as large."""

DRAWN = 8
"""Examples drawn from each stratum at each look."""

MOST_LOOKS = 3

FEW = 256
"""Up to so many examples are all drawn at once: among so few, two or three that were not drawn can decide the mean, and
no interval knows of them."""

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """What drawn examples say of a mean."""

    mean: float
    """Over all examples."""
    standard_error: float
    """Of the mean as that of all examples there could be."""
    margin: float
    """Half the 95 % interval for the mean over the examples there are; 0 when all of them were drawn."""


class Sample:
    """Examples drawn from strata, in looks, without replacement.

    Args:
        dense_losses: Loss of the dense model for every example, ``[N]``.
        limit: Most examples to draw, over all looks.
        seed: Of the draw.
    """

    def __init__(self, dense_losses: np.ndarray, limit: int, seed: int = 0) -> None:
        self.population = len(dense_losses)
        hardest_first = np.argsort(-dense_losses, kind="stable")
        generator = np.random.default_rng(seed)
        bounds = np.cumsum(_sizes(self.population))[:-1]
        self._strata = [generator.permutation(part) for part in np.split(hardest_first, bounds)]
        self._stratum = np.empty(self.population, dtype=np.int64)
        for number, part in enumerate(self._strata):
            self._stratum[part] = number
        self._sizes = np.array([len(part) for part in self._strata])
        self.weights = self._sizes / self.population
        self.looks = self._looks(limit)

    def estimate(self, numbers: Sequence[int], values: np.ndarray) -> Estimate:
        """Return what values of drawn examples say of all examples.

        The interval is Student's, with Satterthwaite's degrees of freedom (1946), at an error rate that is shared out
        evenly over the looks that could have been taken: it holds whichever look it is read at (Bonferroni).

        Args:
            numbers: The examples drawn so far, ``[n]``.
            values: Of these examples, ``[n]``.
        """
        strata, count = self._stratum[np.asarray(numbers)], len(self._strata)
        drawn = np.bincount(strata, minlength=count)
        means = np.bincount(strata, values, count) / drawn
        squares = np.bincount(strata, (values - means[strata]) ** 2, count)
        mean = float(self.weights @ means)
        variances = self.weights**2 * squares / np.maximum(drawn - 1, 1) / drawn
        unseen = variances * (1 - drawn / self._sizes)
        error = float(np.sqrt(variances.sum()))
        if not unseen.sum() > 0:
            return Estimate(mean, error, 0.0)
        degrees = unseen.sum() ** 2 / np.sum(unseen**2 / np.maximum(drawn - 1, 1))
        factor = -float(special.stdtrit(degrees, (1 - LEVEL) / 2 / len(self.looks)))
        return Estimate(mean, error, factor * float(np.sqrt(unseen.sum())))

    def example_weights(self, numbers: Sequence[int]) -> np.ndarray:
        """Return weights with which drawn examples stand for all, ``[n]``, adding up to 1."""
        strata = self._stratum[np.asarray(numbers)]
        return self.weights[strata] / np.bincount(strata, minlength=len(self.weights))[strata]

    def _looks(self, limit: int) -> list[list[int]]:
        """Return which examples are new at each look."""
        if self.population <= min(FEW, limit):
            return [np.concatenate(self._strata).tolist()]
        looks: list[list[int]] = []
        for number in range(MOST_LOOKS):
            new = [int(i) for part in self._strata for i in part[number * DRAWN : (number + 1) * DRAWN]]
            if not new or (looks and sum(map(len, looks)) + len(new) > limit):
                break
            looks.append(new)
        return looks


def _sizes(population: int) -> list[int]:
    """Return the sizes of strata, the hardest first."""
    sizes: list[int] = []
    left = population
    while left > 3 * HARDEST * 2 ** len(sizes):
        sizes.append(HARDEST * 2 ** len(sizes))
        left -= sizes[-1]
    return [*sizes, left]
