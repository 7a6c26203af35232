"""The zero-out oracle over random small networks: what is left computes what the zeroed dense network computes."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from reprune.pruning.graph.analyze import analyze
from reprune.pruning.prune import cut
from tests.reprune.pruning.helpers import assert_close, outputs, randomize, zeroed
from tests.reprune.pruning.zoo import pieces

ACTIVATIONS = (F.relu, F.gelu, torch.sigmoid, torch.tanh, F.silu, torch.cos)
"""Some with f(0) ≠ 0: what is removed must not be read at all."""


@st.composite
def layers(draw, c):
    """Draw a layer over `c` channels, or None where the kind does not suit; and the channels that it gives."""
    kind = draw(st.integers(0, 23))
    width = draw(st.integers(2, 9))
    divisors = [d for d in (1, 2, 3, 4) if c % d == 0]
    divisor = draw(st.sampled_from(divisors))
    small = c < 20
    match kind:
        case 0:
            return pieces.Residual(c, width), c
        case 1 if small:
            return pieces.Concat(c, width), c + width
        case 2 if small:
            layer = pieces.Depthwise(c, draw(st.integers(1, 2)))
            return layer, layer.a.out_channels
        case 3:
            return pieces.Grouped(c, divisor, width), divisor * width
        case 4:
            return pieces.Shuffle(divisor), c
        case 5 if c % 2 == 0 and c > 2:
            return pieces.Gate(), c // 2
        case 6:
            return draw(st.sampled_from([pieces.Flip, pieces.Roll]))(), c
        case 7:
            return pieces.Attention(c, draw(st.integers(1, 3)), draw(st.integers(2, 4))), c
        case 8:
            return pieces.Norm(c), c
        case 9:
            return nn.ConvTranspose2d(c, width, 2, 1), width
        case 10:
            return pieces.SqueezeExcite(c, width), c
        case 11:
            options = {"bidirectional": draw(st.booleans()), "num_layers": draw(st.integers(1, 2))}
            kind = draw(st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]))
            layer = pieces.Recurrent(c, width, kind, **options)
            return layer, layer.out
        case 12:
            return pieces.Packed(c, draw(st.integers(1, 3)), draw(st.integers(2, 4)), draw(st.integers(0, 2))), c
        case 13 if c > 3:
            first = draw(st.integers(1, c - 2))
            second = draw(st.integers(1, c - first - 1))
            layer = pieces.SplitConcat(c, (first, second, c - first - second), width)
            return layer, layer.out
        case 14 if divisor > 1:
            return pieces.Hierarchical(c, divisor), c
        case 15 if c % 4 == 0:
            return pieces.ToSpace(), c
        case 16 if small:
            steps = draw(st.integers(1, 3))
            return pieces.Dense(c, 3, steps), c + 3 * steps
        case 17:
            return pieces.Einsum(c, width), width
        case 18 if 1 < divisor < c:
            return pieces.Maxout(divisor, draw(st.booleans())), c // divisor
        case 19:
            return nn.GroupNorm(divisor, c), c
        case 20:
            return draw(
                st.sampled_from([nn.InstanceNorm2d(c, affine=True), nn.PReLU(c), nn.ChannelShuffle(divisor)])
            ), c
        case 21:
            return pieces.OverTokens(c), c
    return nn.Sequential(nn.Conv2d(c, width, 1), pieces.Activation(draw(st.sampled_from(ACTIVATIONS)))), width


@st.composite
def networks(draw):
    """Draw a network of convolutions and awkward layers, with a linear head."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    c = draw(st.sampled_from([4, 6, 8, 12]))
    chain = [nn.Conv2d(2, c, 1)]
    for _ in range(draw(st.integers(1, 5))):
        layer, c = draw(layers(c))
        chain.append(layer)
    chain += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(c * 4, 3)]
    return randomize(nn.Sequential(*chain)).double()


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
        if not any(isinstance(module, pieces.MIXING) for module in model.modules()):
            assert_close(outputs(zeroed(model, analysis, keep), inputs), outputs(pruned, inputs), 1e-9)
        model = pruned


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(networks(), st.floats(0.1, 0.95))
def test_a_cut_equals_zeroing_out(model, share):
    check(model, share)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.floats(0.1, 0.95))
def test_a_cut_equals_zeroing_out_in_thousands_of_networks(model, share):
    check(model, share)
