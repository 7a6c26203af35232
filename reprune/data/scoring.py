"""What answers are worth: loss and score of each example, in arrays and without torch, for whoever runs ONNX files.

`reprune.data.tasks` adds what training needs of a task: a loss in torch, differentiable. Scores and checks are
written once, here, with what arrays and tensors have in common.
"""

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reprune.config.workload import Evaluation
from reprune.data import signals
from reprune.errors import InputError

if TYPE_CHECKING:
    from reprune.data.datasets import Data
    from reprune.data.tasks import Task

Array = NDArray[Any]

IGNORED_TOKEN = -100
"""Target of a token that neither loss nor score looks at."""


class Scoring(Protocol):
    """What is asked of a task by whoever has answers in arrays. All functions keep one row per example."""

    metric: str
    """Name of the mean score, for tables: ``accuracy``, ``R²`` ..."""

    class_logits: bool
    """Whether outputs are logits of one class an example, ``[N, C]``."""

    def loss(self, outputs: Any, targets: Any) -> Any:
        """Return the loss of each example, ``[N]``."""

    def score(self, outputs: Any, targets: Any) -> Any:
        """Return the score of each example, ``[N]``, higher is better; its mean is the metric."""

    def signals(self, outputs: Any) -> dict[str, Array]:
        """Return what drift of predictions is watched on: named numbers, ``[N]`` each; integers are categories."""

    def check(self, outputs: Any, targets: Any) -> None:
        """Raise InputError when outputs and targets do not belong to this task."""


class Classification:
    """Outputs are logits ``[N, C]``, targets are classes ``[N]`` from 0 to C-1."""

    metric = "accuracy"
    class_logits = True

    def loss(self, outputs: Any, targets: Any) -> Any:
        """Return the cross-entropy of each example, in nats, ``[N]``."""
        return _cross_entropy(outputs, targets)

    def score(self, outputs: Any, targets: Any) -> Any:
        """Return 1 where the most likely class is the target, else 0, ``[N]``; of arrays or of tensors."""
        return 1.0 * (outputs.argmax(1) == targets)

    def signals(self, outputs: Array) -> dict[str, Array]:
        """Return the predicted class and its probability, ``[N]`` each."""
        return signals.classification(outputs)

    def check(self, outputs: Any, targets: Any) -> None:
        """Raise InputError unless outputs are ``[N, C]`` and targets are classes below C; arrays or tensors."""
        _expect(outputs, dimensions=(2,), task="classification", shape="[examples, classes]")
        classes = outputs.shape[1]
        if not _are_integers(targets, dimensions=1):
            raise InputError(
                f"task: classification needs one integer class per example; the targets are {_describe(targets)}.",
                "Let the dataset yield (input, int).",
            )
        wrong = targets[(targets < 0) | (targets >= classes)]
        if len(wrong):
            raise InputError(
                f"data: label {int(wrong[0])} is out of range; the model's outputs stand for 0 to {classes - 1}.",
                "Mend the labels, or give the model as many outputs as there are classes.",
            )


class Regression:
    """Outputs and targets are ``[N]`` or ``[N, D]``; scores are relative to the variance of the targets."""

    metric = "R²"
    class_logits = False

    def __init__(self, variance: float = 1.0) -> None:
        self.variance = variance

    def loss(self, outputs: Any, targets: Any) -> Any:
        """Return the mean squared error of each example, ``[N]``."""
        wanted = targets.reshape(len(targets), -1).astype(outputs.dtype)
        return np.square(outputs.reshape(len(outputs), -1) - wanted).mean(axis=1)

    def score(self, outputs: Any, targets: Any) -> Any:
        """Return 1 - squared error / variance of the targets, ``[N]``; the mean over a split is R²."""
        return 1 - self.loss(outputs, targets) / self.variance

    def signals(self, outputs: Array) -> dict[str, Array]:
        """Return the predicted values, averaged over an example's outputs, ``[N]``."""
        return signals.regression(outputs)

    def check(self, outputs: Any, targets: Any) -> None:
        """Raise InputError unless outputs and targets have as many numbers per example; arrays or tensors."""
        _expect(outputs, dimensions=(1, 2), task="regression", shape="[examples] or [examples, values]")
        if math.prod(outputs.shape) != math.prod(targets.shape):
            raise InputError(
                f"task: the model returns {_describe(outputs)} but the targets are {_describe(targets)}.",
                "Let model and dataset agree on the number of values per example.",
            )


class LanguageModeling:
    """Outputs are logits ``[N, T, V]``, targets are the next tokens ``[N, T]``; -100 marks tokens to leave out."""

    metric = "next-token accuracy"
    class_logits = False

    def loss(self, outputs: Any, targets: Any) -> Any:
        """Return the mean cross-entropy per token of each sequence, in nats, ``[N]``."""
        counted = targets != IGNORED_TOKEN
        tokens = _cross_entropy(outputs, np.where(counted, targets, 0))
        return per_sequence(np.where(counted, tokens, 0), targets)

    def score(self, outputs: Any, targets: Any) -> Any:
        """Return the share of next tokens that are the most likely ones, ``[N]``; of arrays or of tensors."""
        return per_sequence(1.0 * (outputs.argmax(-1) == targets), targets)

    def signals(self, outputs: Array) -> dict[str, Array]:
        """Return the mean probability of the most likely next token, ``[N]``."""
        return signals.language_modeling(outputs)

    def check(self, outputs: Any, targets: Any) -> None:
        """Raise InputError unless outputs are ``[N, T, V]`` and targets are tokens below V; arrays or tensors."""
        _expect(outputs, dimensions=(3,), task="language-modeling", shape="[sequences, tokens, vocabulary]")
        if not _are_integers(targets, dimensions=2) or targets.shape != outputs.shape[:2]:
            raise InputError(
                "task: language-modeling needs one next token per position; "
                f"outputs are {_describe(outputs)}, targets {_describe(targets)}.",
                "Let the dataset yield (tokens, the same tokens shifted by one).",
            )
        wrong = targets[(targets != IGNORED_TOKEN) & ((targets < 0) | (targets >= outputs.shape[2]))]
        if len(wrong):
            raise InputError(
                f"data: token {int(wrong[0])} is out of range: the model's vocabulary has {outputs.shape[2]} tokens.",
                "Mend the tokenizer, or the size of the model's last layer.",
            )


class _Own:
    """A task of the user's own, which takes tensors, for who has arrays."""

    def __init__(self, task: "Task") -> None:
        self._task = task
        self.metric = task.metric
        self.class_logits = isinstance(task, Classification)

    def loss(self, outputs: Any, targets: Any) -> Any:
        return np.asarray(self._task.loss(_to_tensors(outputs), _to_tensors(targets)))

    def score(self, outputs: Any, targets: Any) -> Any:
        return np.asarray(self._task.score(_to_tensors(outputs), _to_tensors(targets)))

    def signals(self, outputs: Any) -> dict[str, Array]:
        return self._task.signals(outputs)

    def check(self, outputs: Any, targets: Any) -> None:
        self._task.check(_to_tensors(outputs), _to_tensors(targets))


_SHIPPED = {"classification": Classification, "regression": Regression, "language-modeling": LanguageModeling}


def of(evaluation: Evaluation, data: "Data", *, split: str = "test") -> Scoring:
    """Return how a task scores; only a task of the user's own needs torch.

    Raises:
        InputError: There is no such task, torch is missing, or R² is not defined on the split.
    """
    if evaluation.task not in _SHIPPED:
        return _Own(signals.own_task(evaluation.task))
    found = _SHIPPED[evaluation.task]()
    if isinstance(found, Regression):
        found.variance = target_variance(data, split)
    return found


def target_variance(data: "Data", split: str) -> float:
    """Return the variance of a split's targets, the mean over an example's values: what R² is relative to.

    Raises:
        InputError: The targets are all the same.
    """
    targets = np.concatenate([values.reshape(len(values), -1) for _, values in data.arrays(split)])
    variance = float(targets.astype(np.float64).var(axis=0).mean())
    if not variance > 0:
        raise InputError(
            f"data: all targets of the {split} split are the same, so R² is not defined.",
            f"Give the {split} split targets that differ.",
        )
    return variance


def brier(logits: Array, targets: Array) -> Array:
    """Return the squared distance between probabilities and labels, ``[N]`` (Brier 1950, Monthly Weather Rev. 78:1)."""
    with np.errstate(invalid="ignore"):
        raised = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        off = raised / raised.sum(axis=1, keepdims=True)
    off[np.arange(len(off)), targets.astype(np.int64)] -= 1
    return np.asarray(np.square(off).sum(axis=1))


def per_sequence(tokens: Any, targets: Any) -> Any:
    """Return the mean over the tokens of each sequence that count, ``[N]``; of arrays or of tensors ``[N, T]``."""
    counted = targets != IGNORED_TOKEN
    return (tokens * counted).sum(1) / counted.sum(1).clip(min=1)


def _cross_entropy(logits: Array, targets: Array) -> Array:
    """Return the cross-entropy of classes ``[...]`` under logits ``[..., C]``; the sums are in doubles."""
    with np.errstate(invalid="ignore"):  # infinite logits have no probabilities, as in every softmax
        below = logits - logits.max(axis=-1, keepdims=True)
        wanted = np.take_along_axis(below, targets[..., None].astype(np.int64), axis=-1)[..., 0]
        return np.asarray(np.log(np.exp(below).sum(axis=-1, dtype=np.float64)) - wanted)


def _to_tensors(values: Any) -> Any:
    import torch

    if isinstance(values, dict):
        return {key: _to_tensors(value) for key, value in values.items()}
    if isinstance(values, (tuple, list)):
        return tuple(_to_tensors(value) for value in values)
    return torch.from_numpy(np.ascontiguousarray(values))


def _expect(outputs: Any, *, dimensions: tuple[int, ...], task: str, shape: str) -> None:
    if getattr(outputs, "ndim", None) not in dimensions:
        raise InputError(
            f"task: {task} needs a model that returns {shape}; this one returns {_describe(outputs)}.",
            "Change the task, or name a task of your own as module:object.",
        )


def _are_integers(values: Any, *, dimensions: int) -> bool:
    kind = str(getattr(values, "dtype", "")).removeprefix("torch.")
    return getattr(values, "ndim", None) == dimensions and kind.startswith(("int", "uint", "bool"))


def _describe(value: Any) -> str:
    if hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"a {type(value).__name__}"
