"""A user's project: which of four quadrants a point of the plane lies in, with a model that is far too wide for it."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

SIZES = {"train": 600, "validation": 200, "test": 800, "production": 200}


def build():
    return nn.Sequential(nn.Linear(8, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 4))


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


def not_a_module():
    return {"weights": [1, 2, 3]}


def too_narrow():
    return nn.Linear(7, 4)


def labels_out_of_range(split):
    inputs, labels = points(split, SIZES[split])
    labels[3] = 12
    return TensorDataset(inputs, labels)


def missing_values(split):
    inputs, labels = points(split, SIZES[split])
    inputs[5, 2] = float("nan")
    return TensorDataset(inputs, labels)


def empty(split):
    inputs, labels = points(split, SIZES[split])
    return TensorDataset(inputs[:0], labels[:0]) if split == "test" else TensorDataset(inputs, labels)


class Fragile(nn.Sequential):
    """Fails where only a training that has begun will find it."""

    steps = 0

    def forward(self, inputs):
        self.steps += self.training
        if self.steps > 17:
            raise ValueError("the eighteenth step is one too many")
        return super().forward(inputs)


def fragile():
    return Fragile(*build())
