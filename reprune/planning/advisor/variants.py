"""What each method would make of a model, as ONNX files to time: nothing is trained, only the graph matters here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from reprune.errors import InputError
from reprune.inference.onnx.quantize import Quantizer, best_int8
from reprune.planning.planning_context import Subject
from reprune.pruning.prune import widths_at_ratio

HALF = 0.5
ZEROS = 0.9
CALIBRATION_BATCHES = 4

Made = dict[str, Path | str]
"""By method, its file, or in words why there is none."""

_Zeros = Callable[[np.ndarray], np.ndarray]


def make(subject: Subject, folder: Path) -> Made:
    """Write one file for each method that can be tried; `dense` is always there."""
    dense = subject.export(folder / "dense.onnx")
    made: Made = {"dense": dense}
    halved = widths_at_ratio(subject.analysis, HALF)
    heads = {group.name for group in subject.analysis.groups if group.kind in ("head", "kv-head")}
    made["structured"] = (
        subject.export(folder / "structured.onnx", halved)
        if halved
        else "no group of channels can be proven safe to cut"
    )
    made["heads"] = (
        subject.export(folder / "heads.onnx", {name: halved[name] for name in halved if name in heads})
        if heads
        else "the model has no attention heads that can be cut"
    )
    made["int8"] = quantized(dense, subject, folder / "int8.onnx")
    pruned = made["structured"]
    made["structured+int8"] = (
        quantized(pruned, subject, folder / "structured-int8.onnx") if isinstance(pruned, Path) else pruned
    )
    made["unstructured"] = _zeroed(dense, folder / "unstructured.onnx", _smallest)
    made["2:4"] = _zeroed(dense, folder / "2-4.onnx", _two_of_four)
    return made


def quantized(model: Path, subject: Subject, path: Path) -> Path | str:
    """Write a model in INT8, its ranges from examples of the validation split; without convolutions, found as it runs.

    Returns the file, or in words why there is none.
    """
    try:
        quantizer = Quantizer(model, best_int8(model))
        quantizer.calibrate(subject.examples(CALIBRATION_BATCHES))
        return quantizer.write(path)
    except InputError as error:
        return error.message


def _zeroed(model: Path, path: Path, zeros: _Zeros) -> Path | str:
    """Write a model whose large weights are zero at some places; the operators stay what they are."""
    proto = onnx.load(model)
    changed = 0
    for weight in proto.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.ndim >= 2 and values.dtype == np.float32:
            flat = values.reshape(len(values), -1).copy()
            flat[zeros(flat)] = 0
            weight.CopyFrom(numpy_helper.from_array(flat.reshape(values.shape), weight.name))
            changed += 1
    if not changed:
        return "the graph has no matrix of weights"
    onnx.save(proto, path)
    return path


def _smallest(values: np.ndarray) -> np.ndarray:
    """Return the 90 % of smallest magnitude, ``[rows, columns]``."""
    return np.asarray(np.abs(values) <= np.quantile(np.abs(values), ZEROS))


def _two_of_four(values: np.ndarray) -> np.ndarray:
    """Return the two smallest of every four along a row; what is left over at its end stays."""
    rows, columns = values.shape
    mask = np.zeros(values.shape, dtype=bool)
    whole = columns - columns % 4
    fours = np.abs(values[:, :whole]).reshape(rows, -1, 4)
    mask[:, :whole] = (fours.argsort(axis=-1).argsort(axis=-1) < 2).reshape(rows, whole)
    return mask
