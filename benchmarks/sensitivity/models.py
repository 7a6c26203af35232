"""The trained models and held-out examples of the sensitivity benchmark."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from benchmarks import WORK
from reprune.config import loading
from reprune.data.datasets import Data
from reprune.data.tasks import find
from reprune.pruning import bundle
from reprune.training.trainer import Settings, fit, seed_everything


class Inverted(nn.Module):
    """An inverted residual block with a depthwise 3x3 (arXiv:1801.04381)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.expand = nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6())
        depthwise = nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(hidden), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, outputs, H/stride, W/stride]``."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class MobileNet(nn.Module):
    """Eight inverted residual blocks for 8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        plan = [(16, 24, 1), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 32, 1), (32, 48, 2), (48, 48, 1), (48, 48, 1)]
        self.blocks = nn.Sequential(*(Inverted(i, o, s, 4) for i, o, s in plan))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(48, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Map images ``[N, 1, 8, 8]`` to logits ``[N, 10]``."""
        return self.classifier(self.pool(self.blocks(self.stem(image))).flatten(1))


@dataclass(frozen=True)
class Study:
    """A trained model, its loss, and examples that it was not trained on."""

    name: str
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    validation: Dataset
    """The shipped validation split."""
    held_out: Dataset
    """Validation, test and production together."""


def prepare(name: str, folder: Path) -> Study:
    """Train a model with the shipped settings, or load its weights.

    Args:
        name: ``digits`` (residual network), ``stdlib-text`` (transformer), or ``mobilenet`` (on the digits).
        folder: Folder of the weights.
    """
    shipped = loading.load("digits" if name == "mobilenet" else name)
    data, task, train = Data(shipped), find(shipped.task), shipped.train
    seed_everything(shipped.seed)
    model = MobileNet() if name == "mobilenet" else bundle.build(shipped.model, key="model")
    weights = folder / f"{name}.safetensors"
    if weights.exists():
        model.load_state_dict(load_file(weights))
    else:
        fields = ("epochs", "learning_rate", "optimizer", "weight_decay", "clip_norm")
        fit(
            model,
            lambda seed: data.training_batches(batch_size=train.batch_size, seed=seed),
            lambda outputs, targets, _: task.loss(outputs, targets),
            Settings(seed=shipped.seed, **{field: getattr(train, field) for field in fields}),
            validate=lambda _: 0.0,
        )
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, weights)
    splits = [data.split(split) for split in ("validation", "test", "production")]
    return Study(name, model.eval(), task.loss, splits[0], ConcatDataset(splits))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in ("digits", "mobilenet", "stdlib-text"):
        prepare(each, WORK / "sensitivity")
