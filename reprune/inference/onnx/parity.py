"""Whether an exported graph computes what the torch model computes."""

import copy
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.config.target import Target
from reprune.errors import InputError
from reprune.inference.session import open_session

if TYPE_CHECKING:
    from torch import nn

    from reprune.data.model_io import Inputs


class Parity(BaseModel):
    """Differences between torch and onnxruntime over all outputs of all examples.

    Attributes:
        max_abs_error: Largest absolute difference of any output element.
        mean_abs_error: Mean absolute difference.
        output_scale: Largest absolute value that torch returned, to judge the errors by.
        examples: Examples compared.
        argmax_agreement: Share of predictions (classes, tokens) that are the same; None where the first output holds
            no scores to take a maximum of.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    max_abs_error: float
    mean_abs_error: float
    output_scale: float
    examples: int
    argmax_agreement: float | None


def compare(
    model: "nn.Module", onnx_path: str | os.PathLike[str], batches: "Iterable[Inputs]", target: Target | None = None
) -> Parity:
    """Run a model and its exported graph on the same inputs.

    Args:
        model: The model that was exported; run in evaluation mode on the CPU, on a copy.
        onnx_path: The file.
        batches: Inputs alone, without targets: tensors, tuples or dicts of tensors, batch first.
        target: What runs the graph; one CPU thread by default.

    Raises:
        InputError: There are no batches, or outputs differ in number or shape.
    """
    import torch

    from reprune.data.model_io import call, feed, named_outputs

    session = open_session(onnx_path, target or Target())
    reference = copy.deepcopy(model).cpu().eval()
    tally = Tally()
    for batch in batches:
        inputs = feed(batch)
        with torch.no_grad():
            expected = [value.cpu().numpy() for value in named_outputs(call(reference, batch)).values()]
        actual = session.run(None, inputs)
        if [value.shape for value in expected] != [value.shape for value in actual]:
            raise InputError(
                f"{os.fspath(onnx_path)} returns {[v.shape for v in actual]} where the model returns "
                f"{[v.shape for v in expected]}.",
                "Export this very model again.",
            )
        tally.add(expected, actual, len(next(iter(inputs.values()))))
    return tally.result()


class Tally:
    """Running sums over batches of what a reference and what is compared with it return."""

    def __init__(self) -> None:
        self.largest = self.total = self.scale = 0.0
        self.elements = self.examples = self.same = self.predictions = 0

    def add(self, expected: list[np.ndarray], actual: list[np.ndarray], examples: int) -> None:
        """Add the outputs of one batch, in the same order on both sides."""
        self.examples += examples
        for left, right in zip(expected, actual, strict=True):
            error = np.abs(left.astype(np.float64) - right.astype(np.float64))
            # max() would lose a NaN, and a NaN on one side only is the worst error there is
            self.largest = float(np.max(error, initial=self.largest))
            self.total += float(error.sum())
            self.scale = float(np.max(np.abs(left), initial=self.scale))
            self.elements += error.size
        axis = _class_axis(expected[0])
        if axis is not None:
            same = expected[0].argmax(axis) == actual[0].argmax(axis)
            self.same += int(same.sum())
            self.predictions += same.size

    def result(self) -> Parity:
        """Return what was found.

        Raises:
            InputError: No batch was added.
        """
        if not self.examples:
            raise InputError("There are no examples to compare outputs on.", "Hand in at least one batch.")
        return Parity(
            max_abs_error=self.largest,
            mean_abs_error=self.total / max(self.elements, 1),
            output_scale=self.scale,
            examples=self.examples,
            argmax_agreement=self.same / self.predictions if self.predictions else None,
        )


def _class_axis(scores: np.ndarray) -> int | None:
    """Return the axis that classes lie on: ``[N, C]``, ``[N, T, C]`` and ``[N, C, H, W]``."""
    if not np.issubdtype(scores.dtype, np.floating) or scores.ndim < 2:
        return None
    axis = 1 if scores.ndim != 3 else 2
    return axis if scores.shape[axis] > 1 else None
