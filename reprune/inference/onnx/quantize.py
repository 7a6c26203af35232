"""An ONNX file in 8 or 4 bits, by onnxruntime's own tools."""

import contextlib
import io
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from reprune.data.model_io import Inputs
from reprune.errors import InputError, RepruneError, first_line
from reprune.inference.onnx.activation_ranges import METHODS, calibrate

Format = Literal["int8", "dynamic-int8", "weights-int8", "weights-int4"]
"""``int8``: weights and activations, ranges fixed by calibration. ``dynamic-int8``: weights, and activations whose
range each inference finds for itself; for models of linear layers. ``weights-int8``, ``weights-int4``: weights of
linear layers alone, in blocks."""

LINEAR = ("MatMul", "Gemm")
CHAINING = ("Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Resize")
PASSING = ("MaxPool", "Relu", "Clip", "Split", "Pad", "Reshape", "Flatten", "Squeeze", "Transpose")
"""What convolutions are chained by: in INT8 it saves going back to float between them. In a graph without convolutions
it only adds conversions around softmax and norms, which stay float. What only passes values on has no range of its own
and follows its input."""

BLOCK = 32
"""Weights that share a scale where weights alone are quantized."""

_INT8_ACCUMULATION = 4
_EXACT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}


class Quantizer:
    """Quantizes one ONNX file, the same or other nodes of it each time; ranges are measured once.

    Args:
        model: The ONNX file in float, batch first and dynamic as `reprune.inference.onnx.export` writes it.
        kind: What becomes of it.
        reduced: Whether weights keep to 7 bits; `needs_reduced_range` tells for a processor.

    Attributes:
        nodes: Names of the operators that are quantized, unless told otherwise.

    Raises:
        InputError: onnxruntime cannot prepare the graph, or it holds nothing to quantize.
    """

    def __init__(self, model: str | os.PathLike[str], kind: Format = "int8", *, reduced: bool = False) -> None:
        self._kind, self._reduced = kind, reduced
        self._scratch = TemporaryDirectory(prefix="reprune-quantize-")
        folder = Path(self._scratch.name)
        self._prepared, self._ranges = folder / "prepared.onnx", folder / "ranges.json"
        self._method = "minmax"
        with _explained("prepare", model):
            quant_pre_process(os.fspath(model), os.fspath(self._prepared), skip_symbolic_shape=True)
        graph = onnx.load(self._prepared, load_external_data=False).graph
        weights = {item.name for item in graph.initializer}
        kinds = LINEAR if kind in ("int8", "dynamic-int8") else ("MatMul",)
        kinds = (*kinds, "Conv") if kind == "int8" else kinds
        computing = [node for node in graph.node if node.op_type in kinds and node.input[1] in weights]
        if not computing:
            raise InputError(
                f"{os.fspath(model)} holds no operator that {kind} is made for ({', '.join(kinds)}).",
                "Keep it in float, or quantize it in another format.",
            )
        convolves = any(node.op_type == "Conv" for node in computing)
        self._operators = (*kinds, *CHAINING, *PASSING) if convolves else kinds
        chaining = [node for node in graph.node if convolves and node.op_type in CHAINING]
        self.nodes = tuple(node.name for node in (*computing, *chaining))

    def calibrate(self, batches: Iterable[Inputs], method: str = "minmax") -> int:
        """Measure the ranges of activations for ``int8``; other formats need none.

        Returns the number of examples that were run.

        Args:
            batches: Inputs without targets, batch first, like those that will be served.
            method: ``minmax``, ``entropy`` or ``percentile``.

        Raises:
            InputError: There is no such method, there are no examples, or the runtime cannot run the graph on them.
        """
        if self._kind != "int8":
            return 0
        self._method = method
        with _explained("calibrate", self._prepared):
            return calibrate(self._prepared, batches, method, self._operators, self._ranges)

    def write(
        self, path: str | os.PathLike[str], *, leave: Sequence[str] = (), only: Sequence[str] | None = None
    ) -> Path:
        """Write the quantized file.

        Args:
            path: The file.
            leave: Names of nodes that stay in float, of `nodes`.
            only: Names of the nodes to quantize; all by default.

        Raises:
            InputError: onnxruntime cannot quantize the graph.
        """
        left = set(leave) if only is None else set(self.nodes) - set(only)
        with _explained("quantize", self._prepared):
            if self._kind == "int8":
                self._write_static(path, sorted(left), only)
            elif self._kind == "dynamic-int8":
                quantize_dynamic(
                    self._prepared,
                    path,
                    op_types_to_quantize=list(LINEAR),
                    per_channel=True,
                    reduce_range=self._reduced,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=sorted(left),
                )
            else:
                self._write_weights(path, sorted(left))
        return Path(path)

    def _write_static(self, path: str | os.PathLike[str], left: list[str], only: Sequence[str] | None) -> None:
        """Unsigned activations and signed weights, one scale a channel: what x86 and ARM have kernels for."""
        if not self._ranges.is_file():
            raise InputError("int8 needs the ranges of activations.", "Call calibrate first.")
        quantize_static(
            self._prepared,
            path,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(self._operators),
            per_channel=True,
            reduce_range=self._reduced,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(only or ()),
            nodes_to_exclude=left,
            calibrate_method=METHODS[self._method],
            calibration_cache_path=self._ranges,
            extra_options={"MatMulConstBOnly": True},
        )

    def _write_weights(self, path: str | os.PathLike[str], left: list[str]) -> None:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(
            onnx.load(self._prepared),
            bits=4 if self._kind == "weights-int4" else 8,
            block_size=BLOCK,
            is_symmetric=True,
            accuracy_level=_INT8_ACCUMULATION,
            nodes_to_exclude=left,
        )
        quantizer.process()
        onnx.save_model(quantizer.model.model, os.fspath(path))


def best_int8(model: str | os.PathLike[str]) -> Format:
    """Return the INT8 format that suits a float file: ``int8`` for convolutions, ``dynamic-int8`` without any."""
    nodes = onnx.load(os.fspath(model), load_external_data=False).graph.node
    return "int8" if any(node.op_type == "Conv" for node in nodes) else "dynamic-int8"


def needs_reduced_range(instruction_sets: Iterable[str]) -> bool:
    """Return whether a processor's INT8 products saturate, so that weights should keep to 7 bits.

    x86 without VNNI adds pairs of products in 16 bits (``vpmaddubsw``), which full 8-bit weights overflow.
    """
    found = set(instruction_sets)
    return bool(found & {"avx2", "avx512f"}) and not found & _EXACT_PRODUCTS


@contextlib.contextmanager
def _explained(doing: str, model: str | os.PathLike[str]) -> Iterator[None]:
    """Silence the quantizer, which prints and logs to the root logger, and give its errors a remedy."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except RepruneError:
        raise
    except Exception as error:  # the quantizer raises whatever its graph passes run into
        raise InputError(
            f"onnxruntime cannot {doing} {os.fspath(model)}: {first_line(error)}", "Keep the model in float."
        ) from error
    finally:
        logging.disable(before)
