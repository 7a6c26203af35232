"""Counts that others published for halved networks, which need no weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from reprune.pruning.graph.analyze import analyze
from reprune.pruning.prune import cut


class Basic(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet18():
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(
        *stem, *(Basic(*each) for each in widths), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)
    )


class Encoder(nn.Module):
    def __init__(self, c, heads, hidden):
        super().__init__()
        self.ln1, self.attention, self.ln2 = (
            nn.LayerNorm(c),
            nn.MultiheadAttention(c, heads, batch_first=True),
            nn.LayerNorm(c),
        )
        self.mlp = nn.Sequential(nn.Linear(c, hidden), nn.GELU(), nn.Linear(hidden, c))

    def forward(self, x):
        y = self.ln1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln2(x))


class ViTB32(nn.Module):
    def __init__(self, c=768):
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, c, 32, 32), nn.Parameter(torch.zeros(1, 1, c))
        self.pos = nn.Parameter(torch.randn(1, 50, c) * 0.02)
        self.layers = nn.Sequential(*(Encoder(c, 12, 4 * c) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(c), nn.Linear(c, 1000)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.layers(x))[:, 0])


def halved(model, inputs):
    analysis = analyze(model, inputs)
    return cut(model, analysis, {group.name: range(group.width // 2) for group in analysis.groups})[0]


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.randn(1, 3, 224, 224))
    return counter.get_total_flops() // 2


def test_resnet18():
    model = resnet18()
    pruned = halved(model, torch.randn(2, 3, 32, 32))
    assert (parameters(model), parameters(pruned)) == (11_689_512, 3_055_880)
    # torch counts convolutions and matrix products alone, which are 99 % of the published MACs
    assert macs(model) == pytest.approx(1_822_177_768, rel=0.01)
    assert macs(pruned) == pytest.approx(487_202_536, rel=0.01)


@pytest.mark.slow
def test_vit_b_32():
    model = ViTB32()
    pruned = halved(model, torch.randn(2, 3, 224, 224))
    assert (parameters(model), parameters(pruned)) == (88_224_232, 22_878_952)
