"""What models take and return, as a flat list of named tensors: how they are called, and how ONNX graphs name it."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reprune.errors import InputError

Inputs = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]
"""What a model is called with: ``model(x)``, ``model(*x)`` or ``model(**x)``."""


def named_inputs(inputs: Inputs) -> dict[str, Tensor]:
    """Return a model's inputs by name: ``input``, or ``input_0``, ``input_1`` ..., or the keys of a dict.

    Raises:
        InputError: Something in there is not a tensor.
    """
    if isinstance(inputs, Tensor):
        return {"input": inputs}
    named = dict(inputs) if isinstance(inputs, Mapping) else {f"input_{i}": x for i, x in enumerate(inputs)}
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"The model's input {name!r} is a {type(value).__name__}; only tensors can be inputs of an ONNX graph.",
                "Let the dataset yield tensors, and fix every other argument inside the model.",
            )
    return named


def named_outputs(outputs: Any) -> dict[str, Tensor]:
    """Return a model's outputs by name: ``output``, or ``output_0`` ..., or the keys of a dict; nested names joined.

    Raises:
        InputError: There is no tensor among them.
    """
    if isinstance(outputs, Tensor):
        return {"output": outputs}
    named = dict(_leaves(outputs, "" if isinstance(outputs, Mapping) else "output"))
    if not named:
        raise InputError(
            f"The model returns a {type(outputs).__name__} without a tensor in it.",
            "Let forward return a tensor, or a tuple or dict of tensors.",
        )
    return named


def feed(inputs: Inputs) -> dict[str, np.ndarray]:
    """Return inputs as onnxruntime takes them: arrays by the names of the exported graph."""
    return {name: value.detach().cpu().numpy() for name, value in named_inputs(inputs).items()}


def call(model: torch.nn.Module, inputs: Inputs) -> Any:
    """Call a model with its inputs: a tensor, a tuple, or a dict by keyword."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}_{key}".strip("_"))
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}_{i}".strip("_"))
    elif is_dataclass(value):
        yield from _leaves(vars(value), name)
