"""Corrupted inputs, of moderate strength: what cameras, sensors and forms do to data.

After Hendrycks and Dietterich 2019 (arXiv:1903.12261), with strengths relative to the data's own scale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from reprune.data.datasets import tensors

NOISE, BRIGHTNESS = 0.5, 0.5
"""Strength in standard deviations of the inputs."""

CONTRAST = 0.5
"""What remains of the distance from an image's mean."""

MISSING = 0.2
"""Share of a table's values that go missing."""

Kind = Literal["image", "table"]
Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""Takes inputs, the reference that scales and means come from, and a source of randomness."""


@dataclass(frozen=True)
class Corruption:
    """One way to corrupt inputs.

    Attributes:
        name: What it is called.
        kind: The inputs that it applies to; others are left as they are.
        change: What it does to one array.
    """

    name: str
    kind: Kind
    change: Change

    def apply(self, inputs: Any, reference: Any, generator: np.random.Generator) -> Any:
        """Return corrupted inputs, of the same structure.

        Args:
            inputs: Collated inputs.
            reference: Clean inputs of the same structure, for the scale of the corruption.
            generator: Source of randomness.
        """
        pairs = zip(tensors(inputs), tensors(reference), strict=True)
        changed = [self.change(it, like, generator) if kind_of(it) == self.kind else it for it, like in pairs]
        if isinstance(inputs, dict):
            return dict(zip(inputs, changed, strict=True))
        return changed[0] if isinstance(inputs, np.ndarray) else tuple(changed)


def kind_of(value: np.ndarray) -> Kind | None:
    """Return what an array holds: images ``[N, C, H, W]``, a table ``[N, F]``, or neither (tokens, sequences)."""
    if not np.issubdtype(value.dtype, np.floating):
        return None
    return {4: "image", 2: "table"}.get(value.ndim)  # type: ignore[return-value]


def fitting(inputs: Any) -> list[Corruption]:
    """Return the corruptions that change such inputs; none for tokens."""
    kinds = {kind_of(value) for value in tensors(inputs)}
    return [corruption for corruption in ALL if corruption.kind in kinds]


def _noise(value: np.ndarray, reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    scale = reference.std(axis=0 if reference.ndim == 2 else None)
    return (value + NOISE * scale * generator.standard_normal(value.shape)).astype(value.dtype)


def _blur(value: np.ndarray, reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Blur with a binomial kernel of 3 × 3, whose standard deviation is 0.7 pixels."""
    line = [0.25, 0.5, 0.25]
    return np.asarray(ndimage.convolve1d(ndimage.convolve1d(value, line, 2, mode="nearest"), line, 3, mode="nearest"))


def _brighter(value: np.ndarray, reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.asarray(value + BRIGHTNESS * reference.std())


def _flatter(value: np.ndarray, reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    mean = value.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray(mean + CONTRAST * (value - mean))


def _missing(value: np.ndarray, reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Set values to their column's mean, as most forms are completed."""
    gone = generator.random(value.shape) < MISSING
    return np.where(gone, reference.mean(axis=0), value)


ALL = (
    Corruption("noise", "image", _noise),
    Corruption("blur", "image", _blur),
    Corruption("brightness", "image", _brighter),
    Corruption("contrast", "image", _flatter),
    Corruption("noise in columns", "table", _noise),
    Corruption("missing values", "table", _missing),
)
