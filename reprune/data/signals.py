"""What drift of predictions is watched on, from what the served model returns: arrays in, arrays out, without torch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprune.errors import InputError

if TYPE_CHECKING:
    from reprune.data.tasks import Task

Array = NDArray[Any]

Signals = Callable[[Any], dict[str, Array]]
"""From the array that a model returns, or several of them, to named numbers, ``[N]`` each; integers are categories."""


def classification(logits: Array) -> dict[str, Array]:
    """Return the predicted class and its probability, ``[N]`` each, of logits ``[N, C]``."""
    return {"predicted_class": logits.argmax(axis=1), "confidence": _highest_probability(logits)}


def regression(outputs: Array) -> dict[str, Array]:
    """Return the predicted values, averaged over an example's outputs, ``[N]``, of ``[N]`` or ``[N, D]``."""
    return {"predicted_value": outputs.reshape(len(outputs), -1).mean(axis=1)}


def language_modeling(logits: Array) -> dict[str, Array]:
    """Return the mean probability of the most likely next token, ``[N]``, of logits ``[N, T, V]``."""
    return {"confidence": _highest_probability(logits).mean(axis=1)}


SHIPPED: dict[str, Signals] = {
    "classification": classification,
    "regression": regression,
    "language-modeling": language_modeling,
}


def find(task: str) -> Signals:
    """Return the signals of a task; only those of a task of the user's own need torch.

    Args:
        task: As the workload names it.

    Raises:
        InputError: There is no such task, or torch is missing.
    """
    return SHIPPED[task] if task in SHIPPED else own_task(task).signals


def own_task(task: str) -> "Task":
    """Return a task of the user's own, which is code for torch.

    Raises:
        InputError: There is no such task, or torch is missing.
    """
    try:
        from reprune.data import tasks
    except ModuleNotFoundError as error:
        raise InputError(
            f"task: {task!r} is a task of your own, which needs {error.name}; it is not installed here.",
            "Use an image with torch and your code in it (FROM reprune-train), or install torch.",
        ) from None
    return tasks.find(task)


def _highest_probability(logits: Array) -> Array:
    """Return the largest value of the softmax over the last dimension."""
    highest = logits.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinite logits have no probabilities, as in every softmax
        return np.asarray(1 / np.exp(logits - highest).sum(axis=-1, dtype=np.float64))
