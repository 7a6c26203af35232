"""A user's project: which of four quadrants a point of the plane lies in, with a model of three layers."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

SIZES = {"train": 600, "validation": 200, "test": 800, "production": 200}


def build():
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))


def points(split, size):
    generator = torch.Generator().manual_seed(list(SIZES).index(split))
    inputs = torch.randn(size, 8, generator=generator)
    inputs[:, :2] += 0.35 * inputs[:, :2].sign()  # a gap between the quadrants
    return inputs, (inputs[:, 0] > 0).long() * 2 + (inputs[:, 1] > 0).long()


def load(split):
    return TensorDataset(*points(split, SIZES[split]))


def shifted():
    inputs, labels = points("production", SIZES["production"])
    return TensorDataset(inputs + 1.0, labels)
