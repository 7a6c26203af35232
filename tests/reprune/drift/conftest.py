"""A small classifier of digits, trained and exported once, and digits that it has never seen."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from reprune.data import signals
from reprune.drift.dataset import DatasetExamples
from reprune.drift.features import sample
from reprune.drift.reference import LIMIT, Reference
from reprune.hashing import of_file
from reprune.inference.onnx.export import export

SEEN = 897


def tensors():
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], torch.tensor(digits.target)[order]


@dataclass
class Champion:
    model: Path
    images: torch.Tensor
    """Digits that the model has not seen, in random order."""
    labels: torch.Tensor
    signals = staticmethod(signals.classification)

    def window(self, chosen, change=lambda images: images):
        return DatasetExamples(TensorDataset(change(self.images[chosen]), self.labels[chosen]))

    def sample(self, chosen, change=lambda images: images):
        return sample(self.window(chosen, change), self.model, self.signals, limit=LIMIT, seed=0, name="window")

    def reference(self, chosen):
        return Reference(self.sample(chosen), of_file(self.model))


@pytest.fixture(scope="session")
def champion(tmp_path_factory):
    torch.manual_seed(0)
    images, labels = tensors()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(25):
        for batch in torch.randperm(SEEN).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("champion") / "model.onnx"
    export(model.eval(), images[:2], path)
    return Champion(path, images[SEEN:], labels[SEEN:])
