"""A torch model as one ONNX file: dynamic batch, weights inside, the same bytes each time."""

import contextlib
import copy
import hashlib
import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from reprune.data.model_io import Inputs, call, named_inputs, named_outputs
from reprune.errors import InputError
from reprune.inference.onnx import translation_cache

log = logging.getLogger(__name__)

LARGEST_FILE_BYTES = 2**31 - 2**20
"""A protobuf ends below 2 GiB; a larger model keeps its weights in a file beside it."""


NOISY_PACKAGES = ("torch", "onnx_ir", "onnxscript")


class ExportResult(BaseModel):
    """What was exported.

    Attributes:
        size_bytes: Size on disk, with the weights.
        sha256: Digest of the file, and of the file with its weights where there is one.
        input_names: The graph's inputs, in order; the first dimension of each is the batch.
        output_names: The graph's outputs, in order.
    """

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    sha256: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


def export(
    model: nn.Module, example_inputs: Inputs, path: str | os.PathLike[str], *, opset: int | None = None
) -> ExportResult:
    """Export a model in evaluation mode; the model itself is left as it is.

    Args:
        model: The model, on any device.
        example_inputs: A batch of at least one example, batch first: a tensor, a tuple, or a dict of tensors.
        path: The file to write; it is written whole or not at all.
        opset: ONNX opset; torch's own choice by default.

    Raises:
        InputError: torch cannot capture the model, or the result is not valid ONNX.
    """
    path = Path(path)
    inputs = {name: _two_or_more(value.detach().cpu()) for name, value in named_inputs(example_inputs).items()}
    flat = _Flat(copy.deepcopy(model).cpu().eval(), example_inputs)
    with torch.no_grad(), _quiet(), translation_cache.kept():
        output_names = tuple(named_outputs(call(flat.model, flat.rebuild(tuple(inputs.values())))))
        proto = _convert(flat, inputs, output_names, opset)
    _tidy(proto)
    return _write(proto, path, tuple(inputs), output_names)


class _Flat(nn.Module):
    """The model with flat inputs and outputs, so that their order is ours and not a tree library's."""

    def __init__(self, model: nn.Module, example: Inputs) -> None:
        super().__init__()
        self.model = model
        self._single = isinstance(example, Tensor)
        self._keys = None if isinstance(example, Tensor | tuple | list) else tuple(example)

    def rebuild(self, flat: tuple[Tensor, ...]) -> Inputs:
        if self._single:
            return flat[0]
        return flat if self._keys is None else dict(zip(self._keys, flat, strict=True))

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        return tuple(named_outputs(call(self.model, self.rebuild(flat))).values())


def _two_or_more(value: Tensor) -> Tensor:
    """torch.export takes a dimension of size one for a constant."""
    return value if value.shape[0] > 1 else torch.cat([value, value])


def _convert(
    flat: _Flat, inputs: dict[str, Tensor], output_names: tuple[str, ...], opset: int | None
) -> onnx.ModelProto:
    dynamic_batch = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
    try:
        program = torch.export.export(flat, tuple(inputs.values()), dynamic_shapes=(dynamic_batch,), strict=False)
        converted = torch.onnx.export(
            program, input_names=list(inputs), output_names=list(output_names), opset_version=opset, verbose=False
        )
    except Exception as error:  # torch.export raises errors of a dozen unrelated kinds
        raise InputError(
            f"torch cannot export {type(flat.model).__name__} to ONNX: {_first_line(error)}",
            "The forward must be traceable and must not fix the batch size; docs/bring-your-own-model.md says more.",
        ) from error
    assert converted is not None
    return converted.model_proto


def _first_line(error: Exception) -> str:
    """Unwrap: torch hides the error that explains inside one that repeats its own advice."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _tidy(proto: onnx.ModelProto) -> None:
    """Name the batch dimension, give weights their own names, drop traces of this machine's source files."""
    graph = proto.graph
    symbols = {i.type.tensor_type.shape.dim[0].dim_param for i in graph.input} - {""}
    pattern = re.compile("|".join(rf"\b{re.escape(symbol)}\b" for symbol in sorted(symbols)) or r"(?!)")
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.doc_string = ""
        del value.metadata_props[:]
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = pattern.sub("batch", dim.dim_param)
    renamed = {weight.name: weight.name.removeprefix("model.") for weight in graph.initializer}
    for weight in graph.initializer:
        weight.name = renamed[weight.name]
        weight.doc_string = ""
        del weight.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        node.input[:] = [renamed.get(name, name) for name in node.input]
    graph.doc_string = ""
    del graph.metadata_props[:], proto.metadata_props[:]


def _write(proto: onnx.ModelProto, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> ExportResult:
    """Write beside the final name, check, then rename: nobody sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = path.with_name(f"{path.name}.data")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    outside = proto.ByteSize() > LARGEST_FILE_BYTES
    try:
        onnx.save_model(proto, partial, save_as_external_data=outside, location=weights.name)
        onnx.checker.check_model(partial, full_check=True)
        os.replace(partial, path)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(
            f"The exported graph is not valid ONNX: {_first_line(error)}", "Export with another opset (`opset=`)."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    files = (path, weights) if outside else (path,)
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    size = sum(file.stat().st_size for file in files)
    return ExportResult(size_bytes=size, sha256=digest.hexdigest(), input_names=inputs, output_names=outputs)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what the exporter prints, warns and logs to this module's log, at debug level."""
    sink = io.StringIO()
    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        for logger in _noisy_loggers():
            stack.callback(setattr, logger, "handlers", logger.handlers)
            stack.callback(setattr, logger, "propagate", logger.propagate)
            logger.handlers, logger.propagate = [_Forward()], False
        yield
    for text in (*(str(warning.message) for warning in caught), *sink.getvalue().splitlines()):
        log.debug("exporter: %s", text)


def _noisy_loggers() -> list[logging.Logger]:
    """Several of torch's loggers have a handler of their own; the others pass through the root of their package."""
    known = logging.Logger.manager.loggerDict
    own = [name for name, it in known.items() if name.startswith("torch.") and getattr(it, "handlers", None)]
    return [logging.getLogger(name) for name in (*NOISY_PACKAGES, *own)]


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.debug("exporter: %s", record.getMessage())
