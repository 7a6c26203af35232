import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from reprune.config.target import Target
from reprune.errors import InputError
from reprune.inference.latency.operators import OperatorShape, chain
from reprune.inference.session import open_session


def run(shape, in_width, out_width, copies, batch_size=3):
    model = chain(shape, in_width, out_width, batch_size, copies)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    session = open_session(model, Target())
    x = np.random.default_rng(1).standard_normal(session.get_inputs()[0].shape).astype(np.float32)
    weights = {
        w.name: torch.from_numpy(onnx.numpy_helper.to_array(w).copy())
        for w in onnx.load_from_string(model).graph.initializer
    }
    return torch.from_numpy(x), weights, session.run(None, {"x": x})[0]


@pytest.mark.parametrize("kind", ["conv", "conv_transpose"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("in_width", "out_width", "groups"), [(8, 12, 1), (8, 12, 4), (16, 16, 16), (8, 24, 8)])
def test_a_chain_of_convolutions_is_their_sum(in_width, out_width, groups, stride, kind, conv):
    shape = OperatorShape.of(conv(in_width, out_width, groups=groups, stride=stride, kind=kind), 2)
    x, weights, actual = run(shape, in_width, out_width, copies=3)
    one = {"conv": F.conv2d, "conv_transpose": F.conv_transpose2d}[kind](
        x, weights["w0"], weights["b0"], stride=stride, padding=1, groups=groups
    )
    np.testing.assert_allclose(actual, 3 * one.numpy(), atol=1e-4)
    assert actual.shape == (3, out_width, *shape.output_spatial())


def test_a_chain_of_products_is_their_sum_over_all_rows(linear):
    shape = OperatorShape.of(linear(6, 10, 2, 5), 2)
    assert shape.rows == 5
    x, weights, actual = run(shape, 6, 10, copies=3)
    np.testing.assert_allclose(actual, (3 * x @ weights["w0"].T + weights["b"]).numpy(), atol=1e-5)
    assert actual.shape == (3 * 5, 10)


def test_rows_are_counted_for_one_example_also_where_the_batch_is_folded_in(linear):
    assert OperatorShape.of(linear(6, 10, 2 * 49), 2).rows == 49
    assert OperatorShape.of(linear(6, 10, 2), 2).rows == 1


def test_a_shape_does_not_depend_on_widths_or_batch_but_on_all_else(conv):
    same = {OperatorShape.of(conv(i, o), 2).key() for i, o in [(8, 8), (16, 32)]}
    others = {
        OperatorShape.of(conv(8, 8, **change), 2).key()
        for change in (
            {"kernel": 1},
            {"stride": 2},
            {"groups": 2},
            {"groups": 8},
            {"size": 4},
            {"kind": "conv_transpose"},
        )
    }
    assert len(same) == 1
    assert len(others | same) == 7
    assert OperatorShape.of(conv(8, 16, groups=8), 2).key() != OperatorShape.of(conv(8, 8, groups=8), 2).key()


def test_macs_are_those_of_the_textbook(conv, linear):
    assert OperatorShape.of(conv(16, 32, stride=2), 2).macs(16, 32) == 32 * 16 * 9 * 4 * 4
    assert OperatorShape.of(conv(16, 16, groups=16), 2).macs(16, 16) == 16 * 9 * 64
    assert OperatorShape.of(linear(6, 10, 2, 5), 2).macs(6, 10) == 5 * 60


def test_a_kind_without_a_latency_model_is_named(linear):
    odd = linear(6, 10, 2)
    odd.kind = "lstm"
    with pytest.raises(InputError, match="lstm"):
        OperatorShape.of(odd, 2)
