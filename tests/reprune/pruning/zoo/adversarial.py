"""Small modules that break pruners: each does one awkward thing to channels."""

import torch
from torch import nn
from torch.nn import functional as F


class Awkward(nn.Module):
    """Two convolutions with something between them, and a head."""

    def __init__(self, between, c: int = 16, after: int | None = None):
        super().__init__()
        self.a, self.b, self.fc = (
            nn.Conv2d(3, c, 3, padding=1),
            nn.Conv2d(after or c, 12, 3, padding=1),
            nn.Linear(12, 4),
        )
        self.between = between

    def forward(self, x):
        return self.fc(F.relu(self.b(self.between(self.a(x)))).mean((2, 3)))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def cat_in_loop(x):
    y = x
    for i in range(3):
        y = torch.cat([y, x * (i + 1)], dim=1)
    return y


def shuffled(x, groups=4):
    b, c, h, w = x.shape
    return x.reshape(b, groups, c // groups, h, w).permute(0, 2, 1, 3, 4).reshape(b, c, h, w)


def halves(x):
    c = x.shape[1] // 2
    return torch.cat([x[:, c:], x[:, :c]], dim=1)


def swap_chunks(x):
    a, b, c, d = x.chunk(4, 1)
    return torch.cat([d, a * b, c], 1)


def interleave(x):
    a, b = x.chunk(2, 1)
    return torch.stack([a, b], 2).flatten(1, 2)


def even_odd(x):
    return x[:, ::2] * x[:, 1::2]


def split_by_size(x):
    a, b = torch.split(x, 8, dim=1)
    return a.sigmoid() * b


def unequal(x):
    a, b = torch.split(x, [4, 12], dim=1)
    return torch.cat([b, a], 1)


def indexed(x):
    return x[:, torch.arange(x.shape[1] - 1, -1, -1)]


def normalised(x):
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-6)


def attention_over_channels(x):
    q = x.flatten(2)
    return ((q @ q.transpose(1, 2)).softmax(-1) @ q).view_as(x)


def space_to_depth(x):
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(b, c * 4, h // 2, w // 2)


def shape_dependent(x):
    return x + torch.ones(getattr(x, "shape")[1], 1, 1) * x.size(1) ** 0  # noqa: B009


def broadcast_outer(x):
    s = x.mean((2, 3))
    return x + torch.einsum("bc,bd->bcd", s, s).mean(2)[..., None, None]


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.shared, self.fc = (
            nn.Conv2d(3, 12, 3, padding=1),
            nn.Conv2d(12, 12, 3, padding=1),
            nn.Linear(12, 4),
        )

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = F.relu(self.shared(x))
        return self.fc(x.mean((2, 3)))


class GroupedMeetsDense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.g, self.b, self.fc = (
            nn.Conv2d(3, 16, 3),
            nn.Conv2d(16, 32, 3, groups=4),
            nn.Conv2d(32, 16, 1),
            nn.Linear(16, 3),
        )
        self.skip, self.dw = nn.Conv2d(3, 16, 5), nn.Conv2d(16, 32, 1, groups=16)
        self.last = nn.Conv2d(32, 16, 1)

    def forward(self, x):
        y = self.b(F.relu(self.g(self.a(x)))) + self.skip(x)
        return self.fc(self.last(self.dw(y)).mean((2, 3)))


class TrainingControl(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.aux = nn.Linear(8, 32), nn.Linear(32, 4), nn.Linear(32, 4)

    def forward(self, x):
        x = F.dropout(F.relu(self.a(x)), 0.5, self.training)
        return self.b(x) + self.aux(x) if self.training else self.b(x)


class BareParameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(8, 24)), nn.Parameter(torch.randn(24, 5))
        self.scale, self.shift = nn.Parameter(torch.randn(24)), nn.Parameter(torch.randn(1, 24))

    def forward(self, x):
        return (torch.tanh(x @ self.w1) * self.scale + self.shift) @ self.w2


class NoGrad(nn.Module):
    def __init__(self):
        super().__init__()
        self.frozen, self.b = nn.Linear(8, 24), nn.Linear(24, 4)

    def forward(self, x):
        with torch.no_grad():
            y = F.relu(self.frozen(x))
        return self.b(y)


def awkward(function, **sizes):
    return lambda: (Awkward(Lambda(function), **sizes), torch.randn(2, 3, 8, 8))


MODELS = {
    "cat_in_loop": awkward(cat_in_loop, after=64),
    "channel_shuffle": awkward(shuffled),
    "halves": awkward(halves),
    "swap_chunks": awkward(swap_chunks, after=12),
    "interleave": awkward(interleave),
    "even_odd": awkward(even_odd, after=8),
    "split_by_size": awkward(split_by_size, after=8),
    "unequal_split": awkward(unequal),
    "indexed": awkward(indexed),
    "flip": awkward(lambda x: torch.flip(x, [1])),
    "roll": awkward(lambda x: torch.roll(x, 3, dims=1)),
    "pad_channels": awkward(lambda x: F.pad(x, (0, 0, 0, 0, 2, 2)), after=20),
    "repeat": awkward(lambda x: x.repeat(1, 2, 1, 1), after=32),
    "repeat_interleave": awkward(lambda x: x.repeat_interleave(2, dim=1), after=32),
    "normalised": awkward(normalised),
    "softmax_channels": awkward(lambda x: x.softmax(1)),
    "cumulative": awkward(lambda x: x.cumsum(1)),
    "topk": awkward(lambda x: x.topk(5, dim=1).values, after=5),
    "attention_over_channels": awkward(attention_over_channels),
    "space_to_depth": awkward(space_to_depth, after=64),
    "unshuffle": awkward(lambda x: F.pixel_unshuffle(x, 2), after=64),
    "shape_dependent": awkward(shape_dependent),
    "broadcast_outer": awkward(broadcast_outer),
    "max_over_channels": awkward(lambda x: x * x.amax(1, keepdim=True)),
    "fold_batch": awkward(lambda x: x.reshape(x.shape[0] * 4, -1, 8, 8).relu().reshape(x.shape)),
    "glu": awkward(lambda x: F.glu(x, 1), after=8),
    "einsum_mix": awkward(lambda x: torch.einsum("bchw->bhwc", x).permute(0, 3, 1, 2)),
    "shared": lambda: (Shared(), torch.randn(2, 3, 8, 8)),
    "grouped_meets_dense": lambda: (GroupedMeetsDense(), torch.randn(2, 3, 12, 12)),
    "training_control": lambda: (TrainingControl(), torch.randn(3, 8)),
    "bare_parameters": lambda: (BareParameters(), torch.randn(3, 8)),
    "no_grad": lambda: (NoGrad(), torch.randn(3, 8)),
}
