"""Awkward layers from which random networks are put together; each takes and gives ``[N, C, H, W]``."""

import math

import torch
from torch import nn
from torch.nn import functional as F


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


class SqueezeExcite(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.a, self.b = nn.Linear(c, width), nn.Linear(width, c)

    def forward(self, x):
        return x * torch.sigmoid(self.b(F.relu(self.a(x.mean((2, 3))))))[..., None, None]


class Recurrent(nn.Module):
    def __init__(self, c, width, kind, **options):
        super().__init__()
        self.rnn = kind(c, width, batch_first=True, **options)
        self.out = self.rnn.hidden_size * (2 if self.rnn.bidirectional else 1)

    def forward(self, x):
        y, _ = self.rnn(x.flatten(2).transpose(1, 2))
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


class Packed(nn.Module):
    """Attention with one layer for queries, keys and values, in one of several spellings."""

    def __init__(self, c, heads, size, spelling):
        super().__init__()
        self.heads, self.size, self.spelling = heads, size, spelling
        self.qkv, self.out = nn.Linear(c, 3 * heads * size), nn.Linear(heads * size, c)

    def forward(self, x):
        b, c, h, w = x.shape
        y = self.qkv(x.flatten(2).transpose(1, 2))
        if self.spelling == 0:
            q, k, v = y.view(b, h * w, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        elif self.spelling == 1:
            q, k, v = (p.view(b, h * w, self.heads, self.size).transpose(1, 2) for p in y.chunk(3, -1))
        else:
            q, k, v = y.view(b, h * w, self.heads, 3 * self.size).transpose(1, 2).split(self.size, -1)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(y).transpose(1, 2).reshape(b, c, h, w)


class SplitConcat(nn.Module):
    """Parts of the channels go their own ways and are put together in another order."""

    def __init__(self, c, sizes, width):
        super().__init__()
        self.sizes = list(sizes)
        self.a = nn.Conv2d(sizes[0], width, 1)
        self.out = c - sizes[0] + width

    def forward(self, x):
        first, *rest = torch.split(x, self.sizes, 1)
        return torch.cat([*rest[::-1], torch.tanh(self.a(first))], 1)


class Hierarchical(nn.Module):
    def __init__(self, c, parts):
        super().__init__()
        self.parts = parts
        self.convs = nn.ModuleList(nn.Conv2d(c // parts, c // parts, 1) for _ in range(parts - 1))

    def forward(self, x):
        parts = list(x.chunk(self.parts, 1))
        for i, conv in enumerate(self.convs):
            parts[i + 1] = conv(parts[i] + parts[i + 1])
        return torch.cat(parts, 1)


class ToSpace(nn.Module):
    """Channels become pixels and pixels channels."""

    def forward(self, x):
        return F.pixel_unshuffle(F.pixel_shuffle(x, 2).relu(), 2)


class Dense(nn.Module):
    """Everything seen so far is put together in a loop."""

    def __init__(self, c, width, steps):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c + i * width, width, 1) for i in range(steps))

    def forward(self, x):
        seen = [x]
        for conv in self.convs:
            seen.append(torch.relu(conv(torch.cat(seen, 1))))
        return torch.cat(seen, 1)


class Einsum(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.randn(width, c) / c), nn.Parameter(torch.randn(c, 1, 1))

    def forward(self, x):
        return torch.einsum("bchw,oc->bohw", x * self.scale, self.weight)


class Maxout(nn.Module):
    def __init__(self, pieces, across):
        super().__init__()
        self.pieces, self.across = pieces, across

    def forward(self, x):
        size = (self.pieces, -1) if self.across else (-1, self.pieces)
        return x.unflatten(1, size).amax(1 if self.across else 2)


class OverTokens(nn.Module):
    """A norm over the channels of each token."""

    def __init__(self, c):
        super().__init__()
        self.norm = nn.LayerNorm(c)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


MIXING = (nn.GroupNorm, nn.LayerNorm, Maxout)
"""Norms and maxima over what may be cut: zeroing is not the same as removing."""
