"""What a model is for: its loss, and the score of each example that "accuracy" is the mean of."""

from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from reprune import entrypoints, signals
from reprune.data import Data
from reprune.errors import InputError
from reprune.workload import Evaluation

IGNORED_TOKEN = -100
"""Target of a token that neither loss nor score looks at."""


@runtime_checkable
class Task(Protocol):
    """What reprune asks of a task. All functions keep one row per example."""

    metric: str
    """Name of the mean score, for tables: ``accuracy``, ``R²`` ..."""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the training loss of each example, ``[N]``, differentiable."""

    def score(self, outputs: Any, targets: Any) -> Tensor:
        """Return the score of each example, ``[N]``, higher is better; its mean is the metric."""

    def signals(self, outputs: Any) -> dict[str, NDArray[Any]]:
        """Return what drift of predictions is watched on: named numbers, ``[N]`` each; integers are categories.

        Args:
            outputs: What the ONNX model returns: an array, or several.
        """

    def check(self, outputs: Any, targets: Any) -> None:
        """Raise InputError when outputs and targets do not belong to this task."""


class Classification:
    """Outputs are logits ``[N, C]``, targets are classes ``[N]`` from 0 to C-1."""

    metric = "accuracy"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each example, ``[N]``."""
        return F.cross_entropy(outputs, targets.long(), reduction="none")

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return 1 where the most likely class is the target, else 0, ``[N]``."""
        return (outputs.argmax(dim=1) == targets).float()

    def signals(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the predicted class and its probability, ``[N]`` each."""
        return signals.classification(outputs)

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless outputs are ``[N, C]`` and targets are classes below C."""
        _expect(outputs, dimensions=(2,), task="classification", shape="[examples, classes]")
        classes = outputs.shape[1]
        if targets.dim() != 1 or targets.is_floating_point() or targets.is_complex():
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

    def __init__(self, variance: float = 1.0) -> None:
        self.variance = variance

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of each example, ``[N]``."""
        return (
            (outputs.reshape(len(outputs), -1) - targets.reshape(len(targets), -1).to(outputs.dtype))
            .square()
            .mean(dim=1)
        )

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return 1 - squared error / variance of the targets, ``[N]``; the mean over a split is R²."""
        return 1 - self.loss(outputs, targets) / self.variance

    def signals(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the predicted values, averaged over an example's outputs, ``[N]``."""
        return signals.regression(outputs)

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless outputs and targets have as many numbers per example."""
        _expect(outputs, dimensions=(1, 2), task="regression", shape="[examples] or [examples, values]")
        if outputs.numel() != targets.numel():
            raise InputError(
                f"task: the model returns {_describe(outputs)} but the targets are {_describe(targets)}.",
                "Let model and dataset agree on the number of values per example.",
            )


class LanguageModeling:
    """Outputs are logits ``[N, T, V]``, targets are the next tokens ``[N, T]``; -100 marks tokens to leave out."""

    metric = "next-token accuracy"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy per token of each sequence, in nats, ``[N]``."""
        tokens = F.cross_entropy(outputs.transpose(1, 2), targets.long(), reduction="none", ignore_index=IGNORED_TOKEN)
        return _per_sequence(tokens, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the share of next tokens that are the most likely ones, ``[N]``."""
        return _per_sequence((outputs.argmax(dim=-1) == targets).float(), targets)

    def signals(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the mean probability of the most likely next token, ``[N]``."""
        return signals.language_modeling(outputs)

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless outputs are ``[N, T, V]`` and targets are tokens below V."""
        _expect(outputs, dimensions=(3,), task="language-modeling", shape="[sequences, tokens, vocabulary]")
        if targets.shape != outputs.shape[:2] or targets.is_floating_point():
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


_TASKS = {"classification": Classification, "regression": Regression, "language-modeling": LanguageModeling}


def find(name: str) -> Task:
    """Return a task by its name, or the user's own by its entry point."""
    if name in _TASKS:
        return _TASKS[name]()
    task = entrypoints.resolve(name, key="task")
    task = task() if isinstance(task, type) else task
    if not isinstance(task, Task):
        raise InputError(
            f"task: {name!r} has no `metric`, `loss`, `score` and `check`.",
            "See reprune.tasks.Task for what a task is.",
        )
    return task


def of(evaluation: Evaluation, data: Data, *, split: str = "test") -> Task:
    """Return the task that is asked for; regression is scored relative to the variance of a split's targets."""
    task = find(evaluation.task)
    if isinstance(task, Regression):
        targets = torch.cat([targets.reshape(len(targets), -1) for _, targets in data.batches(split)])
        variance = float(targets.double().var(dim=0, correction=0).mean())
        if not variance > 0:
            raise InputError(
                f"data: all targets of the {split} split are the same, so R² is not defined.",
                f"Give the {split} split targets that differ.",
            )
        task.variance = variance
    return task


def _per_sequence(tokens: Tensor, targets: Tensor) -> Tensor:
    counted = targets != IGNORED_TOKEN
    return (tokens * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def _expect(outputs: Any, *, dimensions: tuple[int, ...], task: str, shape: str) -> None:
    if not torch.is_tensor(outputs) or outputs.dim() not in dimensions:
        raise InputError(
            f"task: {task} needs a model that returns {shape}; this one returns {_describe(outputs)}.",
            "Change the task, or name a task of your own as module:object.",
        )


def _describe(value: Any) -> str:
    if torch.is_tensor(value):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"a {type(value).__name__}"
