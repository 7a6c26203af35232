"""The digits with every image rotated by six degrees, as from a knocked scanner."""

import torch
from torch.utils.data import Dataset, TensorDataset

from reprune.workloads.digits.data import Distorted, _turn, splits

DEGREES = 6.0


def train() -> Dataset:
    """Return the train split, randomly distorted like the shipped one."""
    return Distorted(*_rotated("train"))


def validation() -> Dataset:
    """Return the validation split."""
    return TensorDataset(*_rotated("validation"))


def test() -> Dataset:
    """Return the test split."""
    return TensorDataset(*_rotated("test"))


def production() -> Dataset:
    """Return the production window."""
    return TensorDataset(*_rotated("production"))


def _rotated(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = splits()[split]
    angle = torch.deg2rad(torch.tensor(DEGREES)).expand(len(images))
    return _turn(images, angle, torch.ones(len(images), 2), torch.zeros(len(images), 2)), labels
