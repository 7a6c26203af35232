"""The range of every activation of a graph, from examples of the data that it serves."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator, save_tensors_data

from reprune.data.model_io import Inputs, feed
from reprune.errors import InputError

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

# onnxruntime's own defaults leave the entropy no choice (as many bins as levels) and mirror percentiles at zero, which
# spends half of the levels behind a ReLU on values that never come
OPTIONS: dict[str, dict[str, object]] = {
    "minmax": {"symmetric": False},
    "entropy": {"symmetric": False, "num_bins": 1024, "num_quantized_bins": 128},
    "percentile": {"symmetric": False, "num_bins": 2048, "percentile": 99.999},
}


def calibrate(
    model: str | os.PathLike[str], batches: Iterable[Inputs], method: str, operators: Iterable[str], ranges: Path
) -> int:
    """Write the range of every tensor that operators of some kinds read or write.

    ``minmax`` is the extremes that were seen, ``percentile`` leaves out one value in 100,000, ``entropy`` cuts where
    the histogram loses least information (Migacz, 8-bit inference with TensorRT, GTC 2017).

    Args:
        model: The ONNX file.
        batches: Inputs without targets, batch first; one batch's activations are held at a time.
        method: ``minmax``, ``entropy`` or ``percentile``.
        operators: Kinds of operators, such as ``Conv``.
        ranges: The file to write, as onnxruntime's quantizer reads it.

    Returns:
        The number of examples.

    Raises:
        InputError: There is no such method, or there are no examples.
    """
    if method not in METHODS:
        raise InputError(f"There is no calibration {method!r}.", f"Use one of {', '.join(METHODS)}.")
    calibrator = create_calibrator(
        Path(model),
        list(operators),
        augmented_model_path=os.fspath(ranges.with_suffix(".augmented.onnx")),
        calibrate_method=METHODS[method],
        extra_options=OPTIONS[method],
    )
    examples = 0
    for batch in batches:
        inputs = feed(batch)
        calibrator.collect_data(_Once(inputs))
        examples += len(next(iter(inputs.values())))
    if not examples:
        raise InputError("There are no examples to calibrate INT8 with.", "Give the train split at least one example.")
    save_tensors_data(calibrator.compute_data(), ranges)
    return examples


class _Once(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """One batch, as the calibrators take it: they hold all batches of a reader in memory at once."""

    def __init__(self, inputs: dict[str, np.ndarray]) -> None:
        self._left: list[dict[str, np.ndarray]] = [inputs]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None
