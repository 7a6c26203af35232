import numpy as np
import onnx
import pytest
import torch
from torch import nn

from reprune.config.target import Target
from reprune.data import tasks
from reprune.errors import InputError
from reprune.inference.onnx.export import export
from reprune.inference.onnx.mixed_precision import Allowed, compare_files, quantize_within
from reprune.inference.onnx.parity import compare
from reprune.inference.onnx.quantize import Quantizer, best_int8, needs_reduced_range
from reprune.inference.session import open_session
from reprune.workloads.stdlib_text.model import CONTEXT, Transformer
from tests.reprune.onnx import products

BITS = pytest.mark.parametrize("reduced", [False, True], ids=["8 bits", "7 bits"])
"""Weights as processors with exact products take them, and as those take them whose products saturate."""


class Wild(nn.Module):
    """One activation that eight bits cannot hold: a channel of it is 5,000 times larger than the others."""

    def __init__(self):
        super().__init__()
        self.calm = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.wild = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.last = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.head = nn.Linear(1024, 4)
        self.register_buffer("scale", torch.ones(1, 16, 1, 1))
        with torch.no_grad():
            self.wild.weight[0] *= 5000
            self.scale[0, 0] /= 5000

    def forward(self, x):
        y = torch.relu(self.wild(torch.relu(self.calm(x - 0.5)))) * self.scale
        return 50 * self.head(self.last(y).flatten(1))


@pytest.fixture(scope="module")
def images():
    return torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory, images):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10),
    ).eval()  # fmt: skip
    path = tmp_path_factory.mktemp("convolutional") / "model.onnx"
    export(model, images[:2], path)
    return model, path


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    torch.manual_seed(0)
    model = Transformer(width=64, heads=4, layers=1).eval()
    path = tmp_path_factory.mktemp("transformer") / "model.onnx"
    export(model, torch.randint(0, 256, (2, CONTEXT)), path)
    return model, path


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def largest_weight(path):
    """Return the largest stored INT8 weight, by its size."""
    held = [item for item in onnx.load(path).graph.initializer if item.data_type == onnx.TensorProto.INT8]
    return max(int(np.abs(onnx.numpy_helper.to_array(item).astype(int)).max()) for item in held if len(item.dims) > 1)


@BITS
@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_int8_answers_nearly_as_float_in_fewer_bytes(convolutional, images, tmp_path, method, reduced):
    model, path = convolutional
    quantizer = Quantizer(path, reduced=reduced)
    assert quantizer.calibrate(images.split(16), method) == 64
    written = quantizer.write(tmp_path / "int8.onnx")
    parity = compare(model, written, images.split(16))
    assert largest_weight(written) == (64 if reduced else 127)
    if products.exact(reduced):
        assert 0 < parity.max_abs_error < 0.1 * parity.output_scale
        assert parity.argmax_agreement > 0.9
    assert written.stat().st_size < 0.4 * path.stat().st_size
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(operators(written))


def test_int8_takes_batches_of_any_size(convolutional, images, tmp_path):
    model, path = convolutional
    quantizer = Quantizer(path, reduced=products.SATURATE)
    quantizer.calibrate([images])
    written = quantizer.write(tmp_path / "int8.onnx")
    assert compare(model, written, [images[:1], images[:7]]).examples == 8


def test_the_same_examples_give_the_same_file(convolutional, images, tmp_path):
    _, path = convolutional
    files = []
    for name in ("a", "b"):
        quantizer = Quantizer(path)
        quantizer.calibrate(images.split(16))
        files.append(quantizer.write(tmp_path / f"{name}.onnx").read_bytes())
    assert files[0] == files[1]


@BITS
@pytest.mark.parametrize(("kind", "share"), [("dynamic-int8", 0.5), ("weights-int8", 0.6), ("weights-int4", 0.45)])
def test_linear_models_have_formats_of_their_own(transformer, tmp_path, kind, share, reduced):
    model, path = transformer
    assert best_int8(path) == "dynamic-int8"
    quantizer = Quantizer(path, kind, reduced=reduced)
    assert quantizer.calibrate([]) == 0
    written = quantizer.write(tmp_path / "small.onnx")
    parity = compare(model, written, [torch.randint(0, 256, (8, CONTEXT))])
    if products.exact(reduced) or kind.startswith("weights"):
        assert 0 < parity.max_abs_error < 0.25 * parity.output_scale
    assert written.stat().st_size < share * path.stat().st_size


def test_nodes_that_are_left_stay_in_float(convolutional, images, tmp_path):
    _, path = convolutional
    quantizer = Quantizer(path)
    quantizer.calibrate([images])
    everything = onnx.load(quantizer.write(tmp_path / "all.onnx"))
    without_last = onnx.load(quantizer.write(tmp_path / "some.onnx", leave=[quantizer.nodes[-1]]))
    floats = [
        sum(item.data_type == onnx.TensorProto.FLOAT and len(item.dims) > 1 for item in it.graph.initializer)
        for it in (everything, without_last)
    ]
    assert floats == [0, 1]


def test_the_sensitive_operator_is_found_and_left_in_float(images, tmp_path):
    torch.manual_seed(0)
    model = Wild().eval()
    export(model, images[:2], tmp_path / "float.onnx")
    labels = model(images).argmax(1)
    quantizer = Quantizer(tmp_path / "float.onnx", reduced=products.SATURATE)
    quantizer.calibrate([images])
    found = quantize_within(
        quantizer,
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        lambda limit: [(images[:limit], labels[:limit])],
        tasks.Classification(),
        Allowed(drop=0.05, agreement=0.9, error=0.2),
    )
    assert found.holds and found.first_drop > 0.5
    assert 1 <= len(found.in_float) <= found.operators / 2
    again = compare_files(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", [(images, labels)], tasks.Classification(), Target()
    )
    assert again == found.loss


def test_a_search_without_success_ends_and_says_so(convolutional, images, tmp_path):
    model, path = convolutional
    quantizer = Quantizer(path)
    quantizer.calibrate([images])
    labels = model(images).argmax(1)
    found = quantize_within(
        quantizer,
        path,
        tmp_path / "int8.onnx",
        lambda limit: [(images[:limit], labels[:limit])],
        tasks.Classification(),
        Allowed(drop=0.0, agreement=1.0, error=1e-9),
    )
    assert not found.holds and found.tries <= 3 and len(found.in_float) == 1


def test_bad_input_is_told(convolutional, transformer, images, tmp_path):
    _, path = convolutional
    quantizer = Quantizer(path)
    with pytest.raises(InputError, match="no examples to calibrate"):
        quantizer.calibrate([])
    with pytest.raises(InputError, match=r"(?s)no calibration 'median'.*minmax, entropy, percentile"):
        quantizer.calibrate([images], "median")
    with pytest.raises(InputError, match="ranges"):
        Quantizer(path).write(tmp_path / "int8.onnx")
    with pytest.raises(InputError, match="cannot calibrate"):
        quantizer.calibrate([images[:, :, :4]])
    with pytest.raises(InputError, match=r"holds no operator that weights-int4 is made for \(MatMul\)"):
        Quantizer(path, "weights-int4")
    (tmp_path / "broken.onnx").write_bytes(b"not onnx")
    with pytest.raises(InputError, match="cannot prepare"):
        Quantizer(tmp_path / "broken.onnx")


def test_processors_whose_products_saturate_get_seven_bits():
    assert needs_reduced_range(["avx", "avx2", "fma"]) and needs_reduced_range(["avx2", "avx512f"])
    assert not needs_reduced_range(["avx2", "avx_vnni"]) and not needs_reduced_range(["asimd", "asimddp"])
    assert not needs_reduced_range(["avx2", "avx512f", "avx512_vnni"]) and not needs_reduced_range(["sse4_1"])


@pytest.mark.parametrize("weight", [-128, -65, -64, 64, 65, 127])
def test_this_processor_computes_as_it_is_taken_to(weight):
    inputs, weights = np.full((8, 64), 255, np.uint8), np.full((64, 16), weight, np.int8)
    (answer,) = session_of(weights).run(None, {"x": inputs})
    if products.exact(reduced=-64 <= weight <= 64):
        assert (answer == 255 * weight * 64).all()
    else:
        assert (np.abs(answer) < 255 * abs(weight) * 64).all(), "nothing saturates here: 7 bits would not be needed"


def session_of(weights):
    """Return a session of one matrix product of unsigned and signed bytes, what convolutions come to, too."""
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "weights"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["n", len(weights)])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ["n", weights.shape[1]])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return open_session(model.SerializeToString(), Target())
