import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reprune.config.target import Target
from reprune.errors import InputError
from reprune.inference.latency.latency_table import LatencyTable
from reprune.inference.latency.operators import OperatorShape
from reprune.inference.latency.profiler import profile


def planted(quantum: int, block: int):
    """Return the latency of a machine that rounds widths up to blocks and is slow off its quantum."""

    def latency(shape, in_width, out_width):
        blocks = [-(-width // block) * block for width in (in_width, out_width)]
        slow = 2.0 if in_width % quantum and in_width > quantum else 1.0
        return 1e-6 * (2 + slow * blocks[0] * blocks[1] / 64)

    return latency


@pytest.fixture
def network(conv, linear):
    return [conv(1, 32), conv(32, 32), conv(32, 64, stride=2), conv(64, 64, groups=64, size=4), linear(64, 10, 2)]


@pytest.mark.parametrize(("quantum", "block"), [(1, 1), (4, 16), (8, 8), (1, 32)])
def test_quantum_and_block_of_a_planted_machine_are_found(machine_of, quantum, block, conv):
    machine_of(planted(quantum, block))
    table = profile([conv(256, 256)], Target())
    found = table.of(OperatorShape.of(conv(256, 256), 2))
    assert found.input.quantum == quantum
    if block > 1:
        assert found.input.block == found.output.block == block
    else:
        assert max(found.input.block, found.output.block) <= 4


@pytest.mark.parametrize(("quantum", "block"), [(1, 1), (4, 16), (8, 8)])
def test_widths_between_the_measured_ones_are_predicted(machine_of, quantum, block, conv):
    latency = planted(quantum, block)
    machine_of(latency)
    table = profile([conv(256, 256)], Target())
    shape = OperatorShape.of(conv(256, 256), 2)
    errors = []
    for in_width in range(quantum * 4, 257, quantum):
        for out_width in range(16, 257, 12):
            truth = latency(shape, in_width, out_width)
            errors.append(abs(table.latency(shape, in_width, out_width) / truth - 1))
    errors.sort()
    assert errors[len(errors) // 2] < 0.03
    assert errors[int(0.95 * len(errors))] < 0.15


def test_widths_off_the_quantum_are_never_cheap(machine_of, conv):
    machine_of(planted(4, 16))
    table = profile([conv(64, 64)], Target())
    shape = OperatorShape.of(conv(64, 64), 2)
    for width in (33, 47, 51, 63):
        assert table.latency(shape, width, 64) > 1.3 * table.latency(shape, -(-width // 16) * 16, 64)


def test_a_real_machine_is_measured_at_every_dense_width_and_survives_json(network):
    shares = []
    table = profile(network, Target(batch_size=2), seconds=1.0, progress=shares.append)
    assert 0 < table.overhead_seconds < 0.1
    for operator in network:
        in_width, out_width = operator.weight_shape[1] * operator.groups, operator.weight_shape[0]
        assert (in_width, out_width) in {(i, o) for i, o, _ in table.of(OperatorShape.of(operator, 2)).points}
        assert 0 < table.latency(OperatorShape.of(operator, 2), in_width, out_width) < 1
    assert all(i == o for i, o, _ in table.of(OperatorShape.of(network[3], 2)).points)
    assert LatencyTable.model_validate_json(table.model_dump_json()) == table
    assert shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 1


def test_what_is_known_of_this_machine_is_not_measured_again(machine_of, conv):
    machine_of(lambda shape, i, o: 1e-6 * i * o)
    first = profile([conv(32, 32)], Target())
    machine_of(lambda shape, i, o: pytest.fail("measured again"))
    again = profile([conv(32, 32)], Target(), known=first)
    assert again.operators == first.operators


def test_a_known_table_grows_by_what_a_new_model_needs(machine_of, conv, linear):
    machine_of(lambda shape, i, o: 1e-6 * i * o, noise=0)
    first = profile([conv(32, 32)], Target())
    both = profile([linear(64, 64, 2)], Target(), known=first)
    assert set(both.operators) == {"conv 3x3 stride 1x1 padding 1x1 on 8x8", "linear 1 rows"}
    assert both.latency(OperatorShape.of(conv(32, 32), 2), 32, 32) == pytest.approx(1e-6 * 32 * 32)


def test_a_narrower_model_keeps_the_blocks_that_the_wide_one_showed(machine_of, conv):
    machine_of(planted(4, 16))
    wide = profile([conv(256, 256)], Target())
    machine_of(lambda shape, i, o: 1e-6)
    narrow = profile([conv(8, 8)], Target(), known=wide)
    (before,), (after,) = wide.operators.values(), narrow.operators.values()
    assert (after.input, after.output) == (before.input, before.output)
    assert set(after.points) > set(before.points)


def test_another_machines_table_is_refused(machine_of, conv):
    machine_of(lambda shape, i, o: 1e-6 * i * o)
    foreign = profile([conv(8, 8)], Target()).model_copy(update={"key": "vax-780"})
    with pytest.raises(InputError, match="vax-780"):
        profile([conv(8, 8)], Target(), known=foreign)


def test_an_operator_that_was_never_measured_is_named(machine_of, conv, linear):
    machine_of(lambda shape, i, o: 1e-6 * i * o)
    table = profile([conv(8, 8)], Target())
    with pytest.raises(InputError, match="linear 1 rows"):
        table.latency(OperatorShape.of(linear(8, 8, 2), 2), 8, 8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.integers(1, 40),
    ins=st.integers(1, 40),
    outs=st.integers(1, 40),
    kind=st.sampled_from(["conv", "conv_transpose"]),
    quantum=st.sampled_from([1, 2, 4, 8, 16]),
    seconds=st.sampled_from([0.0, 0.05]),
    narrower=st.booleans(),
    data=st.data(),
)
def test_every_width_that_groups_allow_has_a_latency(
    machine_of, conv, groups, ins, outs, kind, quantum, seconds, narrower, data
):
    """Whatever a planner may ask: channels of a grouped convolution, depthwise ones among them, go by whole groups."""
    measured = {}

    def latency(shape, in_width, out_width):
        assert in_width % shape.units[0] == 0 == out_width % shape.units[1]
        blocks = -(-in_width // (groups * quantum)) * -(-out_width // (groups * quantum))
        measured[in_width, out_width] = 1e-6 * (1 + blocks)
        return measured[in_width, out_width]

    machine_of(latency, noise=0)
    dense = conv(groups * ins, groups * outs, groups=groups, kind=kind)
    shape = OperatorShape.of(dense, 2)
    known = profile([conv(groups, groups, groups=groups, kind=kind)], Target(), seconds=0) if narrower else None
    table = profile([dense], Target(), seconds=seconds, known=known)
    assert (groups * ins, groups * outs) in measured
    for axis, unit in zip(table.axes(shape), shape.units, strict=True):
        assert axis.quantum == 1 or axis.quantum % unit == 0
    i = data.draw(st.integers(1, groups * ins // shape.units[0]))
    o = i if shape.kind == "depthwise" else data.draw(st.integers(1, outs))
    found = table.latency(shape, i * shape.units[0], o * shape.units[1])
    assert 0 < found <= 3 * max(measured.values())


@pytest.mark.parametrize("groups", [2, 31, 32])
@pytest.mark.parametrize("quantum", [1, 4, 8])
def test_the_quantum_of_a_grouped_convolution_is_that_of_its_groups(machine_of, groups, quantum, conv):
    def latency(shape, in_width, out_width):
        return 1e-6 * (2.0 if (in_width // groups) % quantum else 1.0) * (2 + in_width * out_width / groups)

    machine_of(latency)
    table = profile([conv(64 * groups, 64 * groups, groups=groups)], Target())
    found = table.of(OperatorShape.of(conv(64 * groups, 64 * groups, groups=groups), 2))
    assert found.input.quantum == quantum * groups
    assert found.output.quantum == groups


def test_a_table_of_which_no_width_takes_the_fast_path_still_answers(machine_of, conv):
    machine_of(planted(4, 16))
    shape = OperatorShape.of(conv(64, 64), 2)
    found = profile([conv(64, 64)], Target()).of(shape)
    slow = found.model_copy(update={"points": tuple(it for it in found.points if it[0] % found.input.quantum)})
    assert slow.points and slow.latency(32, 64) > 0
