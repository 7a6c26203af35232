"""Layers written by hand: computed weights, routing, sizes kept in lists, weights shared, tied and transposed."""

import math

import torch
from torch import nn
from torch.nn import functional as F

IMAGE = (2, 3, 8, 8)


class Standardised(nn.Conv2d):
    """Weight standardisation: each filter's own mean and deviation."""

    def forward(self, x):
        w = self.weight
        mean, deviation = w.mean((1, 2, 3), keepdim=True), w.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, (w - mean) / (deviation + 1e-5), self.bias, self.stride, self.padding)


class WeightStandardised(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = Standardised(3, 16, 3, padding=1), Standardised(16, 12, 3), nn.GroupNorm(4, 16)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        return self.fc(self.b(F.relu(self.norm(self.a(x)))).mean((2, 3)))


class DynamicConvolution(nn.Module):
    """The weight is a mixture of experts, chosen for each example; examples become groups."""

    def __init__(self, c=8, width=16, experts=3):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, c, 3, padding=1), nn.Linear(width, 4)
        self.weight = nn.Parameter(torch.randn(experts, width, c, 3, 3) * 0.1)
        self.route = nn.Linear(c, experts)

    def forward(self, x):
        x = self.stem(x)
        b, c, h, w = x.shape
        share = self.route(x.mean((2, 3))).softmax(-1)
        weight = torch.einsum("be,eoikl->boikl", share, self.weight)
        y = F.conv2d(x.reshape(1, b * c, h, w), weight.flatten(0, 1), padding=1, groups=b)
        return self.fc(F.relu(y).view(b, -1, h, w).mean((2, 3)))


class HyperNetwork(nn.Module):
    """One network writes the weights of another."""

    def __init__(self, width=12):
        super().__init__()
        self.width = width
        self.code, self.inner = nn.Parameter(torch.randn(6)), nn.Linear(6, 20)
        self.weight, self.bias = nn.Linear(20, width * 8), nn.Linear(20, width)
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        h = torch.tanh(self.inner(self.code))
        return self.out(F.relu(F.linear(x, self.weight(h).view(self.width, 8), self.bias(h))))


class Capsules(nn.Module):
    """Routing by agreement between capsules."""

    def __init__(self, n=6, d=4, out=5, size=8):
        super().__init__()
        self.n, self.d = n, d
        self.conv = nn.Conv2d(3, n * d, 3, stride=2)
        self.weight = nn.Parameter(torch.randn(n, out, d, size) * 0.3)
        self.fc = nn.Linear(out * size, 4)

    def forward(self, x):
        u = self.conv(x).mean((2, 3)).view(-1, self.n, self.d)
        u = u * u.norm(dim=-1, keepdim=True)
        votes = torch.einsum("bnd,node->bnoe", u, self.weight)
        logits = torch.zeros(votes.shape[:3])
        for _ in range(2):
            s = (logits.softmax(2).unsqueeze(-1) * votes).sum(1)
            v = s / (1 + s.norm(dim=-1, keepdim=True))
            logits = logits + (votes * v.unsqueeze(1)).sum(-1)
        return self.fc(v.flatten(1))


class Squeeze(nn.Module):
    """Squeeze-excite with a shared bottleneck over mean and maximum, as CBAM has it, and a gate over space."""

    def __init__(self, c=16):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1), nn.Linear(c, 4)
        self.mlp = nn.Sequential(nn.Linear(c, c // 4), nn.ReLU(), nn.Linear(c // 4, c))
        self.spatial = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        x = self.a(x)
        x = x * torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))[..., None, None]
        x = x * self.spatial(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()
        return self.fc(F.relu(self.b(x)).mean((2, 3)))


class Selective(nn.Module):
    """Branches weighed against one another, as SKNet does."""

    def __init__(self, c=12):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(3, c, k, padding=k // 2) for k in (1, 3, 5))
        self.reduce = nn.Linear(c, 6)
        self.expand = nn.ModuleList(nn.Linear(6, c) for _ in range(3))
        self.fc = nn.Linear(c, 4)

    def forward(self, x):
        y = torch.stack([branch(x) for branch in self.branches], dim=1)
        z = F.relu(self.reduce(y.sum(1).mean((2, 3))))
        weights = torch.stack([expand(z) for expand in self.expand], dim=1).softmax(dim=1)
        return self.fc((y * weights[..., None, None]).sum(1).mean((2, 3)))


class SplitAttention(nn.Module):
    """Radix splits in groups, softmaxed over the radix, as ResNeSt does."""

    def __init__(self, c=16, radix=2, groups=2):
        super().__init__()
        self.c, self.radix, self.groups = c, radix, groups
        self.conv = nn.Conv2d(3 * groups, c * radix, 3, padding=1, groups=groups)
        self.fc1, self.fc2 = nn.Conv2d(c, 8, 1, groups=groups), nn.Conv2d(8, c * radix, 1, groups=groups)
        self.fc = nn.Linear(c, 4)

    def forward(self, x):
        x = F.relu(self.conv(torch.cat([x] * self.groups, 1)))
        b, _, h, w = x.shape
        splits = x.view(b, self.radix, -1, h, w)
        gap = splits.sum(1).mean((2, 3), keepdim=True)
        a = self.fc2(F.relu(self.fc1(gap))).view(b, self.groups, self.radix, -1).transpose(1, 2).softmax(1)
        return self.fc((splits * a.reshape(b, self.radix, -1, 1, 1)).sum(1).mean((2, 3)))


class Deformable(nn.Module):
    """Samples where a convolution points, by hand."""

    def __init__(self, c=12):
        super().__init__()
        self.a, self.offset, self.b = nn.Conv2d(3, c, 3, padding=1), nn.Conv2d(c, 2, 3, padding=1), nn.Conv2d(c, 10, 1)
        self.fc = nn.Linear(10, 4)

    def forward(self, x):
        x = self.a(x)
        n, _, h, w = x.shape
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
        grid = torch.stack([xs, ys], -1).expand(n, -1, -1, -1) + self.offset(x).permute(0, 2, 3, 1).tanh() * 0.2
        return self.fc(F.relu(self.b(F.grid_sample(x, grid, align_corners=True))).mean((2, 3)))


class InvolvedKernel(nn.Module):
    """Involution: a kernel for each place, shared within groups of channels."""

    def __init__(self, c=16, groups=4):
        super().__init__()
        self.groups = groups
        self.a, self.reduce, self.span = nn.Conv2d(3, c, 1), nn.Conv2d(c, 6, 1), nn.Conv2d(6, 9 * groups, 1)
        self.fc = nn.Linear(c, 4)

    def forward(self, x):
        x = self.a(x)
        b, c, h, w = x.shape
        kernel = self.span(F.relu(self.reduce(x))).view(b, self.groups, 1, 9, h, w)
        patches = F.unfold(x, 3, padding=1).view(b, self.groups, c // self.groups, 9, h, w)
        return self.fc((kernel * patches).sum(3).view(b, c, h, w).mean((2, 3)))


class TiedAutoencoder(nn.Module):
    """The decoder is the encoder's transpose."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(10, 24), nn.Linear(24, 6)
        self.bias_a, self.bias_b = nn.Parameter(torch.randn(24)), nn.Parameter(torch.randn(10))

    def forward(self, x):
        h = torch.tanh(self.b(torch.relu(self.a(x))))
        return F.linear(torch.relu(F.linear(h, self.b.weight.t(), self.bias_a)), self.a.weight.t(), self.bias_b)


class TiedConvolution(nn.Module):
    """A transposed convolution with the weight of the convolution before it."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 12, 3), nn.Conv2d(16, 3, 1)

    def forward(self, x):
        h = torch.sigmoid(self.b(torch.relu(self.a(x))))
        return self.c(F.conv_transpose2d(h, self.b.weight))


class SharedTwice(nn.Module):
    """One module over a stream and over a concatenation's parts."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.shared = nn.Linear(5, 12), nn.Linear(7, 12), nn.Linear(12, 12)
        self.out = nn.Linear(24, 3)

    def forward(self, x, y):
        x, y = self.shared(F.relu(self.left(x))), self.shared(self.shared(torch.tanh(self.right(y))))
        return self.out(torch.cat([x, y], -1)), (x * y).sum(-1)


class SharedWidths(nn.Module):
    """One weight at two widths: a slimmable layer."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(16, 8) * 0.3), nn.Parameter(torch.randn(16))
        self.wide, self.narrow = nn.Linear(16, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.wide(F.relu(F.linear(x, self.weight, self.bias))) + self.narrow(
            F.relu(F.linear(x, self.weight[:8], self.bias[:8]))
        )


class SizesInLists(nn.Module):
    """Splits by sizes that the module keeps in a list and a dict."""

    def __init__(self, sizes=(8, 4, 12)):
        super().__init__()
        self.sizes, self.table = list(sizes), {"total": sum(sizes), "rest": sizes[1] + sizes[2]}
        self.a = nn.Linear(6, sum(sizes))
        self.parts = nn.ModuleList(nn.Linear(n, 5) for n in sizes)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        y = F.relu(self.a(x)).view(-1, self.table["total"])
        pieces = torch.split(y, self.sizes, dim=-1)
        return self.fc(torch.tanh(sum(part(piece) for part, piece in zip(self.parts, pieces, strict=True))))


class SizeInConfig(nn.Module):
    """Heads whose number and size come from an object."""

    class Config:
        def __init__(self):
            self.heads, self.size = 4, 6

    def __init__(self):
        super().__init__()
        self.config = self.Config()
        self.inp = nn.Linear(9, 14)
        self.q, self.k, self.v = (nn.Linear(14, 24) for _ in range(3))
        self.out, self.fc = nn.Linear(24, 14), nn.Linear(14, 3)

    def forward(self, x):
        x = self.inp(x)
        b, n, _ = x.shape
        q, k, v = (
            p(x).view(b, n, self.config.heads, self.config.size).transpose(1, 2) for p in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, self.config.heads * self.config.size)
        return self.fc((x + self.out(y)).mean(1))


class Masked(nn.Module):
    """A mask of channel size in a buffer, and a scale that is not saved."""

    def __init__(self, c=16):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, c, 3), nn.Conv2d(c, 10, 3), nn.Linear(10, 4)
        self.register_buffer("mask", (torch.arange(c) % 3 > 0).float().view(1, c, 1, 1))
        self.register_buffer("scale", torch.rand(c), persistent=False)
        self.register_buffer("keep", torch.arange(c) % 5 > 0)

    def forward(self, x):
        x = self.a(x) * self.mask * self.scale[:, None, None]
        x = torch.where(self.keep.view(1, -1, 1, 1), x, -x)
        return self.fc(F.relu(self.b(x)).mean((2, 3)))


class PermutedByBuffer(nn.Module):
    """A fixed random permutation of channels."""

    def __init__(self, c=16):
        super().__init__()
        self.a, self.b = nn.Linear(6, c), nn.Linear(c, 3)
        self.register_buffer("order", torch.randperm(c))

    def forward(self, x):
        return self.b(F.relu(self.a(x))[:, self.order])


class Projected(nn.Module):
    """An LSTM with projections, and one of its states used."""

    def __init__(self):
        super().__init__()
        self.inp, self.rnn = nn.Linear(5, 10), nn.LSTM(10, 16, proj_size=6, batch_first=True)
        self.hidden, self.out = nn.Linear(6 + 16, 12), nn.Linear(12, 3)

    def forward(self, x):
        y, (_, c) = self.rnn(F.relu(self.inp(x)))
        return self.out(F.relu(self.hidden(torch.cat([y[:, -1], c[-1]], -1))))


class CellByHand(nn.Module):
    """An LSTM cell and a GRU cell unrolled in Python."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.out = nn.LSTMCell(5, 12), nn.GRUCell(12, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = c = x.new_zeros(len(x), self.lstm.hidden_size)
        g = x.new_zeros(len(x), self.gru.hidden_size)
        for t in range(x.shape[1]):
            h, c = self.lstm(x[:, t], (h, c))
            g = self.gru(h, g)
        return self.out(g)


class GatesByHand(nn.Module):
    """A recurrent cell of one's own: four gates in one linear layer."""

    def __init__(self, width=12):
        super().__init__()
        self.width, self.gates, self.out = width, nn.Linear(5 + width, 4 * width), nn.Linear(width, 3)

    def forward(self, x):
        h = c = torch.zeros(x.shape[0], self.width)
        for t in range(x.shape[1]):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.out(h)


class ManyInputs(nn.Module):
    """Two inputs and three outputs, one in a dict."""

    def __init__(self):
        super().__init__()
        self.image, self.table = nn.Conv2d(3, 10, 3), nn.Sequential(nn.Linear(6, 14), nn.ReLU(), nn.Linear(14, 10))
        self.film = nn.Linear(10, 20)
        self.boxes, self.classes, self.depth = nn.Conv2d(10, 4, 1), nn.Conv2d(10, 7, 1), nn.Conv2d(10, 8, 1)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, image, table):
        scale, shift = self.film(self.table(table)).chunk(2, dim=-1)
        x = F.relu(self.image(image)) * scale[..., None, None] + shift[..., None, None]
        return {"boxes": self.boxes(x), "classes": self.classes(x)}, self.last(F.relu(self.depth(x)))


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.mix, self.out = nn.Linear(5, 8), nn.Linear(6, 10), nn.Bilinear(8, 10, 12), nn.Linear(12, 3)

    def forward(self, x, y):
        return self.out(F.relu(self.mix(self.a(x), self.b(y))))


class LowRank(nn.Module):
    """A weight that is a product of two factors, with a low-rank adapter beside it."""

    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Linear(6, 16), nn.Linear(16, 3)
        self.u, self.v = nn.Parameter(torch.randn(16, 4)), nn.Parameter(torch.randn(4, 16))
        self.down, self.up = nn.Linear(16, 5, bias=False), nn.Linear(5, 16, bias=False)

    def forward(self, x):
        x = F.relu(self.inp(x))
        return self.out(F.relu(F.linear(x, self.u @ self.v) + self.up(self.down(x)) * 0.5))


class Experts(nn.Module):
    """Experts in one stacked parameter, the best two of each token chosen."""

    def __init__(self, d=10, width=14, experts=4):
        super().__init__()
        self.inp, self.route, self.out = nn.Linear(6, d), nn.Linear(d, experts), nn.Linear(d, 3)
        self.up = nn.Parameter(torch.randn(experts, d, width) * 0.3)
        self.down = nn.Parameter(torch.randn(experts, width, d) * 0.3)

    def forward(self, x):
        x = self.inp(x)
        value, place = self.route(x).softmax(-1).topk(2, dim=-1)
        gate = torch.zeros(len(x), self.up.shape[0]).scatter(1, place, value)
        y = torch.einsum("bd,edw->ebw", x, self.up).relu()
        return self.out(x + torch.einsum("ebw,ewd,be->bd", y, self.down, gate))


class Codebook(nn.Module):
    """Vector quantisation: the nearest of learnt codes, straight through."""

    def __init__(self, d=8):
        super().__init__()
        self.enc, self.dec = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, d)), nn.Linear(d, 3)
        self.codes = nn.Parameter(torch.randn(16, d))

    def forward(self, x):
        z = self.enc(x)
        nearest = torch.cdist(z, self.codes).argmin(-1)
        return self.dec(z + (self.codes[nearest] - z).detach())


class Reparametrised(nn.Module):
    """Kernels of several branches summed into one, as RepVGG does at inference."""

    def __init__(self, c=12):
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, c, 1), nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 1)
        self.fc = nn.Linear(c, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = F.conv2d(x, self.a.weight + F.pad(self.b.weight, (1, 1, 1, 1)), self.a.bias + self.b.bias, padding=1)
        return self.fc(F.relu(y + x).mean((2, 3)))


class LinearAttention(nn.Module):
    """Attention over channels within heads, with a temperature for each head, as XCiT has it."""

    def __init__(self, c=24, heads=4):
        super().__init__()
        self.heads, self.inp = heads, nn.Linear(7, c)
        self.qkv, self.proj, self.out = nn.Linear(c, 3 * c, bias=False), nn.Linear(c, c), nn.Linear(c, 3)
        self.temperature = nn.Parameter(torch.rand(heads, 1, 1))

    def forward(self, x):
        x = self.inp(x)
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 4, 1)
        a = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.temperature
        return self.out((x + self.proj((a.softmax(-1) @ v).permute(0, 3, 1, 2).reshape(b, n, c))).mean(1))


class Reduced(nn.Module):
    """Attention whose keys are pooled by a strided convolution, as PVT does."""

    def __init__(self, c=16, heads=2):
        super().__init__()
        self.heads, self.scale = heads, (c // heads) ** -0.5
        self.stem, self.q, self.kv = nn.Conv2d(3, c, 1), nn.Linear(c, c), nn.Linear(c, 2 * c)
        self.pool, self.norm, self.proj, self.out = (
            nn.Conv2d(c, c, 2, 2),
            nn.LayerNorm(c),
            nn.Linear(c, c),
            nn.Linear(c, 4),
        )

    def forward(self, x):
        x = self.stem(x)
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        q = self.q(tokens).reshape(b, h * w, self.heads, c // self.heads).permute(0, 2, 1, 3)
        y = self.norm(self.pool(x).reshape(b, c, -1).permute(0, 2, 1))
        k, v = self.kv(y).reshape(b, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return self.out((tokens + self.proj((a @ v).transpose(1, 2).reshape(b, h * w, c))).mean(1))


class RelativeBias(nn.Module):
    """Windows with a learnt bias for each head and distance, as Swin does."""

    def __init__(self, c=24, heads=3, window=4):
        super().__init__()
        self.heads, self.window = heads, window
        self.stem, self.qkv, self.proj, self.fc = (
            nn.Conv2d(3, c, 1),
            nn.Linear(c, 3 * c),
            nn.Linear(c, c),
            nn.Linear(c, 4),
        )
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = (at[:, :, None] - at[:, None]).permute(1, 2, 0) + window - 1
        self.register_buffer("place", apart[..., 0] * (2 * window - 1) + apart[..., 1])

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        m = self.window
        y = (
            x.roll((-2, -2), dims=(1, 2))
            .view(b, h // m, m, w // m, m, c)
            .permute(0, 1, 3, 2, 4, 5)
            .reshape(-1, m * m, c)
        )
        q, k, v = self.qkv(y).reshape(y.shape[0], m * m, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.table[self.place.view(-1)].view(m * m, m * m, -1).permute(2, 0, 1)
        a = (q / math.sqrt(q.shape[-1]) @ k.transpose(-2, -1) + bias.unsqueeze(0)).softmax(-1)
        y = self.proj((a @ v).transpose(1, 2).flatten(2)).view(b, h // m, w // m, m, m, c)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c).roll((2, 2), dims=(1, 2))
        return self.fc((x + y).mean((1, 2)))


class ChannelsFolded(nn.Module):
    """Heads folded into the batch before attention."""

    def __init__(self, c=24, heads=4):
        super().__init__()
        self.heads, self.inp = heads, nn.Linear(7, c)
        self.q, self.k, self.v, self.o = (nn.Linear(c, c) for _ in range(4))
        self.out = nn.Linear(c, 3)

    def forward(self, x):
        x = self.inp(x)
        b, n, c = x.shape
        q, k, v = (
            p(x).view(b, n, self.heads, -1).transpose(1, 2).reshape(b * self.heads, n, -1)
            for p in (self.q, self.k, self.v)
        )
        a = torch.bmm(q, k.transpose(1, 2)).softmax(-1)
        y = torch.bmm(a, v).view(b, self.heads, n, -1).transpose(1, 2).reshape(b, n, c)
        return self.out((x + self.o(y)).mean(1))


class ListOfHeads(nn.Module):
    """Each head a module of its own, put together at the end."""

    def __init__(self, c=16, heads=3, size=5):
        super().__init__()
        self.inp = nn.Linear(7, c)
        self.heads = nn.ModuleList(nn.ModuleList(nn.Linear(c, size) for _ in range(3)) for _ in range(heads))
        self.proj, self.out = nn.Linear(heads * size, c), nn.Linear(c, 3)

    def forward(self, x):
        x = self.inp(x)
        y = []
        for q, k, v in self.heads:
            a = q(x) @ k(x).transpose(1, 2)
            y.append((a / a.shape[-1]).softmax(-1) @ v(x))
        return self.out((x + self.proj(torch.cat(y, -1))).mean(1))


class SpectralMixing(nn.Module):
    """A global filter: learnt complex weights over frequencies, for each channel."""

    def __init__(self, c=12):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, c, 1), nn.Conv2d(c, 10, 1), nn.Linear(10, 4)
        self.weight = nn.Parameter(torch.randn(c, 8, 5, 2))

    def forward(self, x):
        z = torch.fft.rfft2(self.a(x), norm="ortho") * torch.view_as_complex(self.weight)
        return self.fc(F.relu(self.b(torch.fft.irfft2(z, s=(8, 8), norm="ortho"))).mean((2, 3)))


class GatedSpace(nn.Module):
    """Half of the channels gates the other half across places, as gMLP does."""

    def __init__(self, c=10, width=24, n=6):
        super().__init__()
        self.inp, self.up, self.down, self.out = (
            nn.Linear(5, c),
            nn.Linear(c, width),
            nn.Linear(width // 2, c),
            nn.Linear(c, 3),
        )
        self.norm, self.mix = nn.LayerNorm(width // 2), nn.Linear(n, n)

    def forward(self, x):
        x = self.inp(x)
        u, v = F.gelu(self.up(x)).chunk(2, -1)
        return self.out((x + self.down(u * self.mix(self.norm(v).transpose(1, 2)).transpose(1, 2))).mean(1))


class Scan(nn.Module):
    """A selective state space in plain Python: computed steps, a state for each channel."""

    def __init__(self, d=8, width=12, n=4):
        super().__init__()
        self.width, self.n = width, n
        self.inp, self.mix = nn.Linear(d, 2 * width), nn.Conv1d(width, width, 3, padding=2, groups=width)
        self.select, self.step = nn.Linear(width, 3 + 2 * n), nn.Linear(3, width)
        self.a, self.d = nn.Parameter(torch.rand(width, n)), nn.Parameter(torch.rand(width))
        self.out = nn.Linear(width, d)

    def forward(self, x):
        u, z = self.inp(x).chunk(2, -1)
        u = F.silu(self.mix(u.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        dt, b, c = self.select(u).split([3, self.n, self.n], -1)
        dt = F.softplus(self.step(dt))
        h = x.new_zeros(x.shape[0], self.width, self.n)
        ys = []
        for t in range(x.shape[1]):
            h = h * torch.exp(-dt[:, t, :, None] * self.a) + dt[:, t, :, None] * b[:, t, None] * u[:, t, :, None]
            ys.append((h * c[:, t, None]).sum(-1))
        return self.out((torch.stack(ys, 1) + u * self.d) * F.silu(z))


class FixedShape(nn.Module):
    """A constant in a view, and a module that asserts its width."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(12, 3)

    def forward(self, x):
        y = F.relu(self.a(x)).view(-1, 16)
        assert y.shape[-1] == 16
        return self.c(F.relu(self.b(y)))


class BatchFolded(nn.Module):
    """Time folded into the batch, and back."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.t, self.fc = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(8, 12, 3),
            nn.Conv1d(12, 10, 3),
            nn.Linear(10, 4),
        )

    def forward(self, x):
        b, t, *image = x.shape
        y = F.relu(self.b(F.relu(self.a(x.reshape(b * t, *image))))).mean((2, 3))
        return self.fc(F.relu(self.t(y.view(b, t, -1).transpose(1, 2))).amax(2))


def image(model):
    return lambda: (model(), torch.randn(*IMAGE))


def features(model, *shapes):
    return lambda: (model(), tuple(torch.randn(2, *shape) for shape in shapes))


MODELS = {
    "weight_standardised": image(WeightStandardised),
    "dynamic_convolution": image(DynamicConvolution),
    "hyper_network": features(HyperNetwork, (8,)),
    "capsules": image(Capsules),
    "squeeze": image(Squeeze),
    "selective": image(Selective),
    "split_attention": image(SplitAttention),
    "deformable": image(Deformable),
    "involution": image(InvolvedKernel),
    "tied_autoencoder": features(TiedAutoencoder, (10,)),
    "tied_convolution": image(TiedConvolution),
    "shared_twice": features(SharedTwice, (5,), (7,)),
    "shared_widths": features(SharedWidths, (8,)),
    "sizes_in_lists": features(SizesInLists, (6,)),
    "size_in_config": features(SizeInConfig, (5, 9)),
    "masked": image(Masked),
    "permuted_by_buffer": features(PermutedByBuffer, (6,)),
    "projected": features(Projected, (4, 5)),
    "cell_by_hand": features(CellByHand, (4, 5)),
    "gates_by_hand": features(GatesByHand, (4, 5)),
    "many_inputs": features(ManyInputs, (3, 8, 8), (6,)),
    "bilinear": features(Bilinear, (5,), (6,)),
    "low_rank": features(LowRank, (6,)),
    "experts": features(Experts, (6,)),
    "codebook": features(Codebook, (6,)),
    "reparametrised": image(Reparametrised),
    "linear_attention": features(LinearAttention, (5, 7)),
    "reduced_attention": image(Reduced),
    "relative_bias": image(RelativeBias),
    "heads_in_batch": features(ChannelsFolded, (5, 7)),
    "list_of_heads": features(ListOfHeads, (5, 7)),
    "spectral_mixing": image(SpectralMixing),
    "gated_space": features(GatedSpace, (6, 5)),
    "scan": features(Scan, (5, 8)),
    "fixed_shape": features(FixedShape, (6,)),
    "batch_folded": features(BatchFolded, (3, 3, 8, 8)),
}
