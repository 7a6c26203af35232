"""Models to quantize and time, with random weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reprune.inference.onnx.quantize import Format
from reprune.workloads.digits.model import ResNet
from reprune.workloads.stdlib_text.model import CONTEXT, Transformer


class Bottleneck(nn.Module):
    """The bottleneck of ResNet-50 (arXiv:1512.03385), stride in the 3×3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.layers = nn.Sequential(
            *(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, 4 width, H/stride, W/stride]``."""
        return torch.relu(self.layers(x) + self.shortcut(x))


def resnet50(width: int = 64, classes: int = 1000) -> nn.Module:
    """Return ResNet-50; at width 32 every layer except the last is half as wide."""
    layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width * 2**stage, 2 if stage and not block else 1))
            inputs = 4 * width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Inverted(nn.Module):
    """The inverted residual of MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        width = expansion * inputs
        self.layers = nn.Sequential(
            *(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()),
            *(nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU6()),
            *(nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, outputs, H/stride, W/stride]``."""
        return x + self.layers(x) if self.same else self.layers(x)


def mobilenet(width: int, classes: int = 10) -> nn.Module:
    """Return a MobileNetV2 of seven blocks for 8×8 images of one channel."""
    layers = [nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()]
    inputs = width
    for outputs, stride in ((1, 1), (2, 2), (2, 1), (2, 1), (4, 2), (4, 1), (4, 1)):
        layers.append(Inverted(inputs, outputs * width, stride))
        inputs = outputs * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


@dataclass(frozen=True)
class Case:
    """One model to time: dense and pruned, with inputs, batch size and formats."""

    dense: Callable[[], nn.Module]
    pruned: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]
    batch: int
    formats: tuple[Format, ...] = ("int8",)
    seconds: float = 1.0


def digits(width: int, batch: int) -> Case:
    """Return the shipped residual network at a width, pruned to half of it."""
    return Case(lambda: ResNet(width), lambda: ResNet(width // 2), lambda: torch.rand(batch, 1, 8, 8), batch)


def text(width: int, layers: int, batch: int) -> Case:
    """Return the shipped transformer at a width, pruned to half of it."""
    formats: tuple[Format, ...] = ("int8", "dynamic-int8", "weights-int8", "weights-int4")
    return Case(
        lambda: Transformer(width, 8, layers),
        lambda: Transformer(width // 2, 8, layers),
        lambda: torch.randint(0, 256, (batch, CONTEXT)),
        batch,
        formats,
    )


def perceptron(width: int) -> nn.Module:
    """Return a network of two hidden layers for 30 features."""
    return nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))


CASES = {
    "ResNet-50, 224²": Case(
        lambda: resnet50(64), lambda: resnet50(32), lambda: torch.randn(1, 3, 224, 224), 1, seconds=3
    ),
    "digits ResNet-20, width 32, batch 32": digits(32, 32),
    "digits ResNet-20, width 32, batch 1": digits(32, 1),
    "digits ResNet-20, width 8, batch 1": digits(8, 1),
    "perceptron, width 64, batch 1": Case(
        lambda: perceptron(64), lambda: perceptron(32), lambda: torch.randn(1, 30), 1, ("int8", "dynamic-int8")
    ),
    "transformer, width 128, 3 layers, batch 8": text(128, 3, 8),
    "transformer, width 768, 4 layers, batch 1": text(768, 4, 1),
}
