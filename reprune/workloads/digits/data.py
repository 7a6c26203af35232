"""The digits in four splits; training images are turned, stretched and shifted a little, as a scanner would."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

SEED = 0
SHARES = {"train": 0.43, "validation": 0.06, "test": 0.45, "production": 0.06}
"""Most of what can be spared goes to test: a gate that is to tell one point apart needs examples."""

ANGLE, STRETCH, SHIFT = 0.2, 0.12, 0.25
"""Largest distortion of a training image: radians, a share of its size, a share of half its width."""


class Distorted(Dataset[tuple[Tensor, ...]]):
    """Images ``[N, 1, 8, 8]`` distorted anew each time they are asked for."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, ...]]:
        """Return a batch at once, which torch's loader asks for where it can."""
        count = len(indices)
        distorted = _turn(
            self.images[indices], _uniform(count) * ANGLE, 1 + _uniform(count, 2) * STRETCH, _uniform(count, 2) * SHIFT
        )
        return list(zip(distorted, self.labels[indices], strict=True))


def splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Return images ``[N, 1, 8, 8]`` from 0 to 1 and labels ``[N]`` of every split, stratified by class."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    left, parts, remaining = torch.arange(len(labels)), {}, 1.0
    for split, share in list(SHARES.items())[:-1]:
        taken, rest = train_test_split(
            left.numpy(), train_size=share / remaining, random_state=SEED, stratify=labels[left]
        )
        parts[split], left, remaining = torch.from_numpy(taken), torch.from_numpy(rest), remaining - share
    parts["production"] = left
    return {split: (images[index], labels[index]) for split, index in parts.items()}


def load(split: str) -> Dataset[tuple[Tensor, ...]]:
    """Return one split of the digits."""
    images, labels = splits()[split]
    return Distorted(images, labels) if split == "train" else TensorDataset(images, labels)


def rotated() -> Dataset[tuple[Tensor, ...]]:
    """Return the production window as a tilted scanner would deliver it: every digit turned by 25 degrees."""
    images, labels = splits()["production"]
    angle = torch.deg2rad(torch.tensor(25.0)).expand(len(images))
    return TensorDataset(_turn(images, angle, torch.ones(len(images), 2), torch.zeros(len(images), 2)), labels)


def _turn(images: Tensor, angles: Tensor, stretch: Tensor, shift: Tensor) -> Tensor:
    """Turn ``[N, 1, H, W]`` by ``[N]`` radians, stretch by ``[N, 2]`` and shift by ``[N, 2]`` of half the size."""
    cos, sin = angles.cos(), angles.sin()
    rows = [
        torch.stack([cos * stretch[:, 0], -sin, shift[:, 0]], dim=1),
        torch.stack([sin, cos * stretch[:, 1], shift[:, 1]], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _uniform(*size: int) -> Tensor:
    """Return numbers from -1 to 1."""
    return 2 * torch.rand(*size) - 1
