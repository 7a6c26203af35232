import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprune.planning.sensitivity.suffix_runner import SuffixRunner
from reprune.pruning.graph.analyze import analyze
from reprune.workloads.digits.model import ResNet
from reprune.workloads.stdlib_text.model import Transformer


class InPlace(nn.Module):
    """Writes over its own activations, and returns a dict."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.outer = nn.Conv2d(12, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.stem(x))
        y = self.outer(self.relu(self.norm(self.inner(x))))
        y += x
        return {"logits": self.head(self.relu(y).mean((2, 3))), "features": y}


class Overwritten(InPlace):
    """Reads a value under one name after it was written over under another."""

    def forward(self, x):
        x = self.stem(x)
        view = x[:, :]
        y = self.outer(self.norm(self.inner(x)))
        self.relu(view)
        return self.head((y + x).mean((2, 3)))


class Concatenated(nn.Module):
    """Two branches side by side, grouped convolutions, and an input of two tensors."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, padding=1)
        self.right = nn.Conv2d(3, 8, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.norm = nn.GroupNorm(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x, scale):
        both = torch.cat([self.left(x), self.right(x)], 1)
        return self.head(F.silu(self.norm(self.depthwise(both))).mean((2, 3)) * scale)


class Reordered(nn.Module):
    """Looks a tensor up in itself: one argument twice, alone and in a list."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 4)
        self.register_buffer("order", torch.arange(64).roll(1))

    def forward(self, x):
        return self.last(F.relu(self.first(x[:, self.order[self.order]])))


class Signal(nn.Module):
    """Layers of one dimension, some with biases, one transposed, one in groups, and one that is read twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(8, 12, 3, padding=1)
        self.grouped = nn.Conv1d(12, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose1d(8, 10, 2, stride=2)
        self.wide = nn.Linear(16, 24)
        self.head = nn.Linear(24, 4, bias=False)

    def forward(self, x):
        y = self.wide(self.up(F.relu(self.grouped(F.relu(self.first(x))))))
        return self.head(y * torch.sigmoid(y)).mean(1)


class Distances(nn.Module):
    """What goes is read by no weight, so it counts unless it is zero."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(8, 12), nn.Linear(8, 12)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.cdist(self.left(x), self.right(x.flip(1)))).mean(1)


IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
ZOO = {
    "residual": (lambda: ResNet(width=8, blocks=1), IMAGES[:, :1]),
    "transformer": (lambda: Transformer(width=32, heads=4, layers=2), (IMAGES[:, 0].flatten(1).abs() * 20).long()),
    "in place": (InPlace, IMAGES),
    "overwritten": (Overwritten, IMAGES),
    "reordered": (Reordered, IMAGES[:, 0].flatten(1)),
    "distances": (Distances, IMAGES[:, 0]),
    "signal": (Signal, IMAGES[:, 0]),
    "concatenated": (Concatenated, (IMAGES, torch.ones(6, 1))),
}


@pytest.fixture(scope="module", params=ZOO)
def runner(request):
    build, inputs = ZOO[request.param]
    torch.manual_seed(0)
    model = build().eval()
    few = tuple(x[:2] for x in inputs) if isinstance(inputs, tuple) else inputs[:2]
    analysis = analyze(model, few)
    assert analysis.groups
    return SuffixRunner(model, analysis, inputs), inputs


def flat(outputs):
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


def test_reusing_the_prefix_gives_the_same_bits_as_running_everything(runner):
    runner, inputs = runner
    groups = runner.analysis.groups
    dense = runner.dense(inputs, [group.name for group in groups])
    before = [out.clone() for out in flat(runner.outputs(dense))]
    for group in groups:
        for width in {1, group.width // 2, group.width - 1}:
            keep = {group.name: range(width)}
            found, expected = runner.narrowed(dense, keep), runner.whole(inputs, keep)
            assert all(torch.equal(a, b) for a, b in zip(flat(found), flat(expected), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(flat(runner.outputs(dense)), before, strict=True))


def test_several_groups_at_once(runner):
    runner, inputs = runner
    keep = {group.name: range(1) for group in runner.analysis.groups[:2]}
    found = runner.narrowed(runner.dense(inputs, keep), keep)
    expected = runner.whole(inputs, keep)
    assert all(torch.equal(a, b) for a, b in zip(flat(found), flat(expected), strict=True))


def test_a_layer_that_only_writes_to_a_group_is_not_run_again():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    runner = SuffixRunner(model, analyze(model, torch.randn(2, 4)), torch.randn(5, 4))
    first, second = (group.name for group in runner.analysis.groups)
    assert (runner.layers(first), runner.layers(second)) == (2, 1)


def test_later_groups_need_fewer_layers():
    build, inputs = ZOO["residual"]
    model = build().eval()
    runner = SuffixRunner(model, analyze(model, inputs[:2]), inputs)
    layers = [runner.layers(group.name) for group in runner.analysis.groups if ".conv1" in group.name]
    assert layers == sorted(layers, reverse=True)
    assert layers[-1] < 0.5 * runner.layers()
