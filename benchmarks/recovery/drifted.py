"""The digits as a scanner would deliver them after a knock: every image turned by six degrees, in every split."""

import torch
from torch.utils.data import Dataset, TensorDataset

from reprune.workloads.digits.data import Distorted, _turn, splits

DEGREES = 6.0


def train() -> Dataset:
    """Return the train split, distorted at random like the shipped one."""
    return Distorted(*_turned("train"))


def validation() -> Dataset:
    """Return the validation split."""
    return TensorDataset(*_turned("validation"))


def test() -> Dataset:
    """Return the test split."""
    return TensorDataset(*_turned("test"))


def production() -> Dataset:
    """Return the production window."""
    return TensorDataset(*_turned("production"))


def _turned(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = splits()[split]
    angle = torch.deg2rad(torch.tensor(DEGREES)).expand(len(images))
    return _turn(images, angle, torch.ones(len(images), 2), torch.zeros(len(images), 2)), labels
