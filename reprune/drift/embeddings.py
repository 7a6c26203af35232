"""What the served model makes of its inputs before its last layer, read from the ONNX file that is served."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

WIDTH = 64
"""Most numbers of an embedding that are watched; wider ones are projected to as many at random."""

LAYERS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "QGemm", "Conv", "QLinearConv")


def with_embedding(model: Path) -> bytes | None:
    """Return a model that answers with its penultimate layer too, as its last output; None where that cannot be.

    That is what the last layer with weights reads. In a quantized model it may be whole numbers, which serve as well.

    Args:
        model: An ONNX file.
    """
    graph = onnx.load(model)
    if graph.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:
        return None
    constants = {tensor.name for tensor in graph.graph.initializer}
    given = {value.name for value in graph.graph.input}
    last = next((node for node in reversed(graph.graph.node) if node.op_type in LAYERS), None)
    name = next((n for n in last.input if n and n not in constants), None) if last else None
    if name is None or name in given or name in {value.name for value in graph.graph.output}:
        return None
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return bytes(graph.SerializeToString())


def pooled(layer: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return one vector an example, ``[N, at most 64]``.

    Positions of a sequence or an image are averaged; what is wider is projected at random, which keeps distances
    (Johnson & Lindenstrauss, 1984).

    Args:
        layer: ``[N, D]``, ``[N, positions, D]`` or ``[N, D, height, width]``.
    """
    values = np.asarray(layer, dtype=np.float32)
    if values.ndim == 4:
        values = values.mean(axis=(2, 3))
    elif values.ndim > 2:
        values = values.mean(axis=tuple(range(1, values.ndim - 1)))
    values = values.reshape(len(values), -1)
    width = values.shape[1]
    if width <= WIDTH:
        return values
    onto = np.random.default_rng(width).normal(size=(width, WIDTH)).astype(np.float32) / np.sqrt(np.float32(width))
    return np.asarray(values @ onto)
