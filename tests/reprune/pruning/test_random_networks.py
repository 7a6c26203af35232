"""The zero-out oracle over random small networks: what is left computes what the zeroed dense network computes."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from reprune.pruning import analyze, cut
from tests.reprune.pruning.helpers import assert_close, outputs, randomize, zeroed

ACTIVATIONS = (F.relu, F.gelu, torch.sigmoid, torch.tanh, F.silu, torch.cos)
"""Some with f(0) ≠ 0: what is removed must not be read at all."""


class Norm(nn.BatchNorm2d):
    pass


class Residual(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(c, width, 3, padding=1), nn.Conv2d(width, c, 1), Norm(c)

    def forward(self, x):
        return x + self.norm(self.b(F.relu(self.a(x))))


class Concat(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.a = nn.Conv2d(c, width, 1)

    def forward(self, x):
        return torch.cat([self.a(x), x], 1)


class Depthwise(nn.Module):
    def __init__(self, c, multiplier):
        super().__init__()
        self.a = nn.Conv2d(c, c * multiplier, 3, padding=1, groups=c)

    def forward(self, x):
        return self.a(x)


class Grouped(nn.Module):
    def __init__(self, c, groups, width):
        super().__init__()
        self.a = nn.Conv2d(c, width * groups, 1, groups=groups)

    def forward(self, x):
        return self.a(x)


class Shuffle(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        b, c, h, w = x.shape
        return x.view(b, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(b, c, h, w)


class Gate(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        return a * torch.sigmoid(b)


class Flip(nn.Module):
    def forward(self, x):
        return x.flip(1)


class Roll(nn.Module):
    def forward(self, x):
        return x.roll(1, 1)


class Attention(nn.Module):
    def __init__(self, c, heads, size):
        super().__init__()
        self.heads, self.size = heads, size
        self.q, self.k, self.v, self.out = *(nn.Linear(c, heads * size) for _ in range(3)), nn.Linear(heads * size, c)

    def forward(self, x):
        b, c, h, w = x.shape
        y = x.flatten(2).transpose(1, 2)
        q, k, v = (p(y).view(b, h * w, self.heads, self.size).transpose(1, 2) for p in (self.q, self.k, self.v))
        y = (q @ k.transpose(-1, -2) / math.sqrt(self.size)).softmax(-1) @ v
        y = y.transpose(1, 2).reshape(b, h * w, self.heads * self.size)
        return x + self.out(y).transpose(1, 2).view(b, c, h, w)


class Activation(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@st.composite
def networks(draw):
    """Draw a network of convolutions and awkward layers, with a linear head."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    c = draw(st.sampled_from([4, 6, 8, 12]))
    layers = [nn.Conv2d(2, c, 1)]
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.integers(0, 11))
        width = draw(st.integers(2, 9))
        divisor = draw(st.sampled_from([d for d in (1, 2, 3, 4) if c % d == 0]))
        if kind == 0:
            layers.append(Residual(c, width))
        elif kind == 1 and c < 20:
            layers.append(Concat(c, width))
            c += width
        elif kind == 2 and c < 20:
            layers.append(Depthwise(c, draw(st.integers(1, 2))))
            c = layers[-1].a.out_channels
        elif kind == 3:
            layers.append(Grouped(c, divisor, width))
            c = divisor * width
        elif kind == 4:
            layers.append(Shuffle(divisor))
        elif kind == 5 and c % 2 == 0 and c > 2:
            layers.append(Gate())
            c //= 2
        elif kind == 6:
            layers.append(draw(st.sampled_from([Flip, Roll]))())
        elif kind == 7:
            layers.append(Attention(c, draw(st.integers(1, 3)), draw(st.integers(2, 4))))
        elif kind == 8:
            layers.append(Norm(c))
        elif kind == 9:
            layers.append(nn.ConvTranspose2d(c, width, 2, 1))
            c = width
        else:
            layers += [nn.Conv2d(c, width, 1), Activation(draw(st.sampled_from(ACTIVATIONS)))]
            c = width
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(c * 4, 3)]
    return randomize(nn.Sequential(*layers)).double()


def check(model, share):
    """Cut a network twice in a row, each time against its own zeroed self."""
    inputs = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    for _ in range(2):
        analysis = analyze(model, inputs)
        keep = {
            group.name: torch.randperm(group.width)[: max(1, round(share * group.width))].tolist()
            for group in analysis.groups
        }
        pruned, _ = cut(model, analysis, keep)
        assert_close(outputs(zeroed(model, analysis, keep), inputs), outputs(pruned, inputs), 1e-9)
        model = pruned


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(networks(), st.floats(0.1, 0.95))
def test_a_cut_equals_zeroing_out(model, share):
    check(model, share)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.floats(0.1, 0.95))
def test_a_cut_equals_zeroing_out_in_thousands_of_networks(model, share):
    check(model, share)
