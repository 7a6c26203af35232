"""Tensors as bytes in the safetensors format, as views of the memory that they lie in: nothing is copied.

``safetensors.torch.save`` copies every tensor into a new run of bytes, which takes half the time of a checkpoint. The
format (https://github.com/huggingface/safetensors#format) is eight bytes of length, a header in JSON, and the tensors.
"""

import json
from functools import cache
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

_LENGTH = 8


def pieces(tensors: dict[str, Tensor], metadata: dict[str, str]) -> list[bytes | memoryview]:
    """Return what, joined, `safetensors.torch.load` reads.

    Args:
        tensors: They must not change before the pieces are written.
        metadata: Kept in the header.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    views, end = [], 0
    for name, tensor in sorted(tensors.items(), key=lambda it: -it[1].element_size()):  # so that each lies aligned
        view = tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data
        start, end = end, end + view.nbytes
        header[name] = {"dtype": _name(tensor.dtype), "shape": list(tensor.shape), "data_offsets": [start, end]}
        views.append(view)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _LENGTH)
    return [len(text).to_bytes(_LENGTH, "little"), text, *views]


def metadata_of(payload: bytes) -> dict[str, str]:
    """Return the metadata of tensors in the safetensors format."""
    metadata: dict[str, str] = _header(payload)["__metadata__"]
    return metadata


@cache
def _name(dtype: torch.dtype) -> str:
    """Return what safetensors calls a type, from the one who knows."""
    name: str = _header(safetensors.torch.save({"": torch.empty(0, dtype=dtype)}))[""]["dtype"]
    return name


def _header(payload: bytes) -> dict[str, Any]:
    length = int.from_bytes(payload[:_LENGTH], "little")
    header: dict[str, Any] = json.loads(payload[_LENGTH : _LENGTH + length])
    return header
