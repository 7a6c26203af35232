"""What is written by hand must be what the library reads."""

import pytest
import safetensors.torch
import torch

from reprune.storage import safetensors_stream

TENSORS = {
    "weights": torch.randn(3, 4),
    "turned": torch.randn(3, 4).T,
    "count": torch.tensor(7),
    "empty": torch.empty(0, 2),
    "random state": torch.arange(5, dtype=torch.uint8),
    "flags": torch.tensor([True, False]),
    "half": torch.randn(3).to(torch.bfloat16),
    "double": torch.randn(3, dtype=torch.float64),
    "eighth": torch.randn(3).to(torch.float8_e4m3fn),
    "trained": torch.randn(2, requires_grad=True),
}
METADATA = {"state": '{"epoch": 3}', "name": "fünf"}


def test_the_library_reads_every_type_and_shape():
    payload = b"".join(safetensors_stream.pieces(TENSORS, METADATA))
    found = safetensors.torch.load(payload)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert found[name].double().tolist() == tensor.double().tolist(), name
    assert safetensors_stream.metadata_of(payload) == METADATA


def test_tensors_that_share_memory_are_written_twice():
    shared = torch.arange(6.0)
    found = safetensors.torch.load(b"".join(safetensors_stream.pieces({"all": shared, "end": shared[4:]}, {})))
    assert found["all"].tolist() == [0, 1, 2, 3, 4, 5] and found["end"].tolist() == [4, 5]


@pytest.mark.parametrize("tensors", [{}, TENSORS])
def test_what_the_library_writes_has_its_metadata_read(tensors):
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    assert safetensors_stream.metadata_of(safetensors.torch.save(contiguous, metadata=METADATA)) == METADATA


def test_nothing_but_the_header_is_a_copy():
    tensor = torch.zeros(4)
    *_, view = safetensors_stream.pieces({"x": tensor}, {})
    tensor += 1
    assert (
        safetensors.torch.load(b"".join([*safetensors_stream.pieces({"x": tensor}, {})[:2], view]))["x"].tolist()
        == [1] * 4
    )
