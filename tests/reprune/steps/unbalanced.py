"""An easy problem, and a network whose channels differ so much in size that eight bits for all of them are too few."""

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

CLASSES = 10
EXAMPLES = {"train": 512, "validation": 256, "test": 256}


def load(split):
    """Return noisy copies of a few patterns of 8×8 pixels."""
    draw = torch.Generator().manual_seed(list(EXAMPLES).index(split))
    patterns = torch.rand(CLASSES, 1, 8, 8, generator=torch.Generator().manual_seed(9))
    labels = torch.randint(CLASSES, (EXAMPLES[split],), generator=draw)
    return TensorDataset(patterns[labels] + 0.3 * torch.randn(len(labels), 1, 8, 8, generator=draw), labels)


def block(inputs, outputs, kernel, groups=1, stride=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Net(nn.Module):
    """Depthwise and pointwise convolutions."""

    def __init__(self, width=16):
        super().__init__()
        self.features = nn.Sequential(
            block(1, width, 3),
            block(width, width, 3, groups=width, stride=2),
            block(width, width, 1),
            block(width, width, 3, groups=width),
            block(width, width, 1),
        )
        self.head = nn.Linear(width * 16, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).flatten(1))


def build():
    return Net()


@torch.no_grad()
def unbalance(model, octaves):
    """Scale channels up or down at random, and undo it in the convolution that follows: in float, nothing changes."""
    draw = torch.Generator().manual_seed(0)
    blocks = list(model.features)
    for (_, norm, _), (following, *_) in zip(blocks, blocks[1:], strict=False):
        factors = 2 ** (octaves * (torch.rand(norm.num_features, generator=draw) - 0.5))
        norm.weight *= factors
        norm.bias *= factors
        following.weight /= factors.view((-1, 1, 1, 1) if following.groups > 1 else (1, -1, 1, 1))
