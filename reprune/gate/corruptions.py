"""Corrupted inputs, of moderate strength: what cameras, sensors and forms do to data.

After Hendrycks and Dietterich 2019 (arXiv:1903.12261), with strengths relative to the data's own scale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from reprune.data import tensors

NOISE, BRIGHTNESS = 0.5, 0.5
"""Strength in standard deviations of the inputs."""

CONTRAST = 0.5
"""What remains of the distance from an image's mean."""

MISSING = 0.2
"""Share of a table's values that go missing."""

Kind = Literal["image", "table"]
Change = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Takes inputs, the reference that scales and means come from, and a source of randomness."""


@dataclass(frozen=True)
class Corruption:
    """One way to corrupt inputs.

    Attributes:
        name: What it is called.
        kind: The inputs that it applies to; others are left as they are.
        change: What it does to one tensor.
    """

    name: str
    kind: Kind
    change: Change

    def apply(self, inputs: Any, reference: Any, generator: torch.Generator) -> Any:
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
        return changed[0] if torch.is_tensor(inputs) else tuple(changed)


def kind_of(value: Tensor) -> Kind | None:
    """Return what a tensor holds: images ``[N, C, H, W]``, a table ``[N, F]``, or neither (tokens, sequences)."""
    if not value.is_floating_point():
        return None
    return {4: "image", 2: "table"}.get(value.dim())  # type: ignore[return-value]


def fitting(inputs: Any) -> list[Corruption]:
    """Return the corruptions that change such inputs; none for tokens."""
    kinds = {kind_of(value) for value in tensors(inputs)}
    return [corruption for corruption in ALL if corruption.kind in kinds]


def _noise(value: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
    scale = reference.std(dim=0, correction=0) if reference.dim() == 2 else reference.std(correction=0)
    return value + NOISE * scale * torch.randn(value.shape, generator=generator, dtype=value.dtype)


def _blur(value: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
    """Blur with a binomial kernel of 3 × 3, whose standard deviation is 0.7 pixels."""
    channels = value.shape[1]
    line = torch.tensor([0.25, 0.5, 0.25], dtype=value.dtype)
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(value, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)


def _brighter(value: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
    return value + BRIGHTNESS * reference.std(correction=0)


def _flatter(value: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
    mean = value.mean(dim=(1, 2, 3), keepdim=True)
    return mean + CONTRAST * (value - mean)


def _missing(value: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
    """Set values to their column's mean, as most forms are completed."""
    gone = torch.rand(value.shape, generator=generator) < MISSING
    return torch.where(gone, reference.mean(dim=0), value)


ALL = (
    Corruption("noise", "image", _noise),
    Corruption("blur", "image", _blur),
    Corruption("brightness", "image", _brighter),
    Corruption("contrast", "image", _flatter),
    Corruption("noise in columns", "table", _noise),
    Corruption("missing values", "table", _missing),
)
