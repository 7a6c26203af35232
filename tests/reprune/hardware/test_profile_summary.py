import pytest

from reprune.config.target import Target
from reprune.inference.latency.latency_table import Axis, LatencyTable, OperatorLatency
from reprune.inference.latency.profile_summary import by_kind, summarize

SLOW, FAST = "conv 3x3 stride 1x1 padding 1x1 on 8x8", "linear 1 rows"


@pytest.fixture
def table():
    def operator(fixed, per_block):
        axis = Axis(quantum=4, block=16)
        points = [
            (i, o, (fixed + per_block * -(-i // 16) * -(-o // 16)) * (1 if i % 4 == 0 == o % 4 else 3))
            for i in (16, 31, 32, 64)
            for o in (16, 32, 63, 64)
        ]
        return OperatorLatency(input=axis, output=axis, points=tuple(points))

    operators = {FAST: operator(1e-6, 1e-6), SLOW: operator(20e-6, 5e-6)}
    return LatencyTable(key="planted", target=Target(), operators=operators)


def test_the_fixed_cost_is_what_does_not_fall_with_the_widths(table):
    slow, fast = summarize(table)
    assert (slow.operator, fast.operator) == (SLOW, FAST), "the slowest first"
    assert slow.fixed_seconds == pytest.approx(20e-6, rel=1e-6)
    assert fast.fixed_seconds == pytest.approx(1e-6, rel=1e-6)
    assert (slow.in_width, slow.out_width, slow.points) == (64, 64, 16)
    assert slow.seconds == pytest.approx(100e-6)


def test_what_operators_of_a_kind_have_in_common_is_told(table):
    conv, linear = by_kind(summarize(table))
    assert (conv.kind, conv.operators, conv.blocks) == ("conv", 1, (16,))
    assert "every 16 channels" in linear.text() and "1.0 µs" in linear.text()


def test_a_single_point_is_its_own_fixed_cost():
    only = OperatorLatency(input=Axis(), output=Axis(), points=((3, 3, 7e-6),), diagonal=True)
    (found,) = summarize(LatencyTable(key="planted", target=Target(), operators={"depthwise": only}))
    assert found.fixed_seconds == 7e-6
