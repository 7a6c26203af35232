import random
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from reprune.inference.latency import profiler as profile_module


@pytest.fixture(scope="session")
def linear_onnx(tmp_path_factory):
    """Return a function that writes an ONNX file of one matrix product of a given width."""
    folder = tmp_path_factory.mktemp("models")

    def write(width: int):
        weight = np.random.default_rng(width).standard_normal((6, width)).astype(np.float32)
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["input", "weight"], ["output"])],
            "linear",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 6])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", width])],
            [numpy_helper.from_array(weight, "weight")],
        )
        path = folder / f"linear-{width}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
        return path

    return write


@pytest.fixture(scope="session")
def conv():
    """Return a function that describes a convolution as the pruning engine does."""

    def build(in_width, out_width, *, kernel=3, stride=1, groups=1, size=8, kind="conv"):
        return SimpleNamespace(
            name="conv", kind=kind, weight_shape=(out_width, in_width // groups, kernel, kernel),
            input_shape=(2, in_width, size, size), stride=(stride,) * 2, padding=(kernel // 2,) * 2,
            dilation=(1, 1), groups=groups,
        )  # fmt: skip

    return build


@pytest.fixture(scope="session")
def linear():
    """Return a function that describes a matrix product as the pruning engine does."""

    def build(in_width, out_width, *lead):
        return SimpleNamespace(
            name="fc", kind="linear", weight_shape=(out_width, in_width), input_shape=(*lead, in_width),
            stride=(), padding=(), dilation=(), groups=1,
        )  # fmt: skip

    return build


@pytest.fixture
def machine_of(monkeypatch):
    """Return a function that replaces the stop-watch by a planted machine, noise included."""

    def plant(latency, noise=0.01):
        rng = random.Random(0)
        monkeypatch.setattr(
            profile_module,
            "_time",
            lambda batch, *_: [latency(plan.shape, *point) * rng.gauss(1, noise) for plan, point in batch],
        )

    return plant
