"""Convolutional networks: plain, residual, grouped, depthwise, dense, branched, with gates and with skips."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def image(channels: int = 3, size: int = 16) -> Tensor:
    return torch.randn(2, channels, size, size)


def conv_bn(
    i: int, o: int, k: int = 3, stride: int = 1, groups: int = 1, act: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o), act())


class VGG(nn.Sequential):
    def __init__(self):
        super().__init__(
            conv_bn(3, 8), nn.MaxPool2d(2), conv_bn(8, 16), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(256, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10),
        )  # fmt: skip


class Bottleneck(nn.Module):
    def __init__(self, i: int, width: int, o: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(i, width, 1), conv_bn(width, width, 3, stride, groups), conv_bn(width, o, 1, act=nn.Identity)
        )
        self.shortcut = conv_bn(i, o, 1, stride, act=nn.Identity) if i != o or stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


class Basic(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.a, self.b = conv_bn(c, c), conv_bn(c, c, act=nn.Identity)

    def forward(self, x):
        return F.relu(x + self.b(self.a(x)))


def classifier(c: int, *features: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Sequential(*features), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


def on_images(c: int, *features):
    """Return a builder of a classifier; each feature is a class and its arguments, built afresh each time."""
    return lambda: (classifier(c, *(build(*args) for build, *args in features)), image())


class RegNetBlock(nn.Module):
    """A bottleneck as wide inside as outside, in groups of a given width, with squeeze and excitation."""

    def __init__(self, i: int, o: int, group_width: int):
        super().__init__()
        self.a, self.b = conv_bn(i, o, 1), conv_bn(o, o, 3, 2, o // group_width)
        self.gate, self.c = SqueezeExcite(o, o // 4), conv_bn(o, o, 1, act=nn.Identity)
        self.shortcut = conv_bn(i, o, 1, 2, act=nn.Identity)

    def forward(self, x):
        return F.relu(self.c(self.gate(self.b(self.a(x)))) + self.shortcut(x))


class GroupedDecoder(nn.Sequential):
    """Transposed convolutions: dense, grouped and depthwise."""

    def __init__(self):
        super().__init__(
            nn.ConvTranspose2d(12, 24, 2, 2), nn.ReLU(), nn.ConvTranspose2d(24, 36, 3, 1, 1, groups=4), nn.ReLU(),
            nn.ConvTranspose2d(36, 36, 3, 2, 1, 1, groups=36), nn.ReLU(), nn.Conv2d(36, 3, 1),
        )  # fmt: skip


class DenseLayer(nn.Module):
    def __init__(self, i: int, growth: int):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(i), nn.Conv2d(i, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class Inception(nn.Module):
    def __init__(self, i: int):
        super().__init__()
        self.a, self.b = conv_bn(i, 8, 1), nn.Sequential(conv_bn(i, 4, 1), conv_bn(4, 8, 3))
        self.c = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_bn(i, 4, 1))

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x), self.c(x)], dim=1)


class SqueezeExcite(nn.Module):
    def __init__(self, c: int, r: int):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(c, r, 1), nn.Conv2d(r, c, 1)

    def forward(self, x):
        return x * self.expand(F.silu(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()


class SqueezeExciteLinear(nn.Module):
    def __init__(self, c: int, r: int):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(c, r), nn.ReLU(), nn.Linear(r, c), nn.Hardsigmoid())

    def forward(self, x):
        b, c, _, _ = x.size()
        y = F.adaptive_avg_pool2d(x, 1).view(b, c)
        return x * self.fc(y).view(b, c, 1, 1).expand_as(x)


class InvertedResidual(nn.Module):
    def __init__(
        self, i: int, o: int, expand: int, gate: type[nn.Module] | None = None, act: type[nn.Module] = nn.ReLU6
    ):
        super().__init__()
        h = i * expand
        gates = [gate(h, 4)] if gate else []
        self.body = nn.Sequential(
            conv_bn(i, h, 1, act=act), conv_bn(h, h, 3, groups=h, act=act), *gates, conv_bn(h, o, 1, act=nn.Identity)
        )
        self.residual = i == o

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def shuffle(x: Tensor, groups: int) -> Tensor:
    b, c, h, w = x.size()
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


class ShuffleUnit(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        h = c // 2
        self.branch = nn.Sequential(conv_bn(h, h, 1), conv_bn(h, h, 3, groups=h, act=nn.Identity), conv_bn(h, h, 1))

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        return shuffle(torch.cat((a, self.branch(b)), dim=1), 2)


class LayerNorm2d(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * ((x - u) / torch.sqrt(s + 1e-6)) + self.bias[:, None, None]


class ConvNeXtBlock(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(c, c, 7, padding=3, groups=c), nn.LayerNorm(c)
        self.pw1, self.pw2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.gamma = nn.Parameter(torch.full((c,), 0.5))

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.pw2(F.gelu(self.pw1(y)))).permute(0, 3, 1, 2)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2, self.mid = conv_bn(3, 8), conv_bn(8, 16), conv_bn(16, 32)
        self.u2, self.u1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.c2, self.c1, self.out = conv_bn(32, 16), conv_bn(16, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        y = self.mid(F.max_pool2d(b, 2))
        y = self.c2(torch.cat([self.u2(y), b], 1))
        return self.out(self.c1(torch.cat([a, self.u1(y)], 1)))


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.up = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 1, 1)
        self.b, self.c = nn.PReLU(8), nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, x):
        return self.c(self.b(F.pixel_shuffle(self.up(F.leaky_relu(self.a(x), 0.1)), 2)))


class GroupNormNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3), nn.GroupNorm(16, 16), nn.ELU(),
            nn.Conv2d(16, 16, 3), nn.InstanceNorm2d(16, affine=True), nn.Hardswish(),
            nn.Conv2d(16, 8, 3), nn.GroupNorm(1, 8), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
        )  # fmt: skip


class PaddedShortcut(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.fc = conv_bn(3, 8), conv_bn(8, 16, 3, 2), conv_bn(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.b(self.a(x))
        return self.fc(F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))).mean((2, 3)))


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.trunk = conv_bn(3, 8), conv_bn(1, 8), conv_bn(16, 16)
        self.boxes, self.score, self.mask = nn.Conv2d(16, 4, 1), nn.Linear(16, 3), nn.ConvTranspose2d(16, 1, 2, 2)

    def forward(self, rgb, depth):
        x = self.trunk(torch.cat([self.left(rgb), self.right(depth)], 1))
        return {
            "boxes": self.boxes(x),
            "score": self.score(x.amax((-1, -2))),
            "mask": F.interpolate(self.mask(x), scale_factor=2),
        }


class Volume(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv3d(1, 6, 3), nn.BatchNorm3d(6), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(6, 8, 2), nn.ReLU(),
            nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip


class Signal(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv1d(2, 8, 5), nn.BatchNorm1d(8), nn.GELU(), nn.Conv1d(8, 16, 5, stride=2, dilation=2), nn.Softplus(),
            nn.ConvTranspose1d(16, 4, 3), nn.MaxPool1d(4), nn.Flatten(), nn.Linear(16, 3),
        )  # fmt: skip


STEM = (conv_bn, 3, 8)
WIDE_STEM = (conv_bn, 3, 16)
LINEAR_GATE, CONV_GATE = SqueezeExciteLinear, SqueezeExcite

MODELS = {
    "vgg": lambda: (VGG(), image()),
    "resnet": on_images(16, STEM, (Basic, 8), (Basic, 8), (Bottleneck, 8, 8, 16, 2), (Basic, 16)),
    "resnet_bottleneck": on_images(32, WIDE_STEM, (Bottleneck, 16, 8, 32), (Bottleneck, 32, 8, 32)),
    "resnext": on_images(32, WIDE_STEM, (Bottleneck, 16, 16, 32, 1, 4), (Bottleneck, 32, 16, 32, 1, 4)),
    "resnext_32x4d": on_images(64, WIDE_STEM, (Bottleneck, 16, 128, 64, 2, 32), (Bottleneck, 64, 128, 64, 1, 32)),
    "regnet": on_images(72, (conv_bn, 3, 31), (RegNetBlock, 31, 48, 16), (RegNetBlock, 48, 72, 24)),
    "depth_multiplier": on_images(24, STEM, (conv_bn, 8, 24, 3, 1, 8), (conv_bn, 24, 24, 1)),
    "grouped_decoder": lambda: (GroupedDecoder(), image(12, 4)),
    "densenet": on_images(8, STEM, (DenseLayer, 8, 4), (DenseLayer, 12, 4), (DenseLayer, 16, 4), (conv_bn, 20, 8, 1)),
    "inception": on_images(20, STEM, (Inception, 8), (Inception, 20)),
    "mobilenet_v2": on_images(16, STEM, (InvertedResidual, 8, 8, 4), (InvertedResidual, 8, 16, 4)),
    "mobilenet_v3": on_images(8, STEM, (InvertedResidual, 8, 8, 4, LINEAR_GATE, nn.Hardswish)),
    "efficientnet": on_images(12, STEM, *((InvertedResidual, 8, o, 4, CONV_GATE, nn.SiLU) for o in (8, 12))),
    "shufflenet": on_images(24, WIDE_STEM, (ShuffleUnit, 16), (ShuffleUnit, 16), (conv_bn, 16, 24, 1)),
    "convnext": on_images(16, (nn.Conv2d, 3, 16, 2, 2), (LayerNorm2d, 16), (ConvNeXtBlock, 16), (ConvNeXtBlock, 16)),
    "unet": lambda: (UNet(), image()),
    "super_resolution": lambda: (SuperResolution(), image()),
    "group_norm": lambda: (GroupNormNet(), image()),
    "padded_shortcut": lambda: (PaddedShortcut(), image()),
    "multi_task": lambda: (MultiTask(), {"rgb": image(3), "depth": image(1)}),
    "volume": lambda: (Volume(), torch.randn(2, 1, 12, 12, 12)),
    "signal": lambda: (Signal(), torch.randn(2, 2, 40)),
}
