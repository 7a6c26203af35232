"""What each model makes of every example: the ONNX files run side by side, and a few numbers kept of each answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reprune import tasks
from reprune.data import tensors
from reprune.errors import InputError
from reprune.gate.features import simple_features
from reprune.gate.gallery import Gallery
from reprune.hardware.session import open_session
from reprune.hardware.target import Target
from reprune.tasks import Task

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

DENSE, CANDIDATE, CHAMPION = "dense", "pruned", "champion"
FLOAT = "float"
"""The candidate before it was quantized, where what would be served is."""

RECORDED_EXAMPLES = 8


@dataclass(frozen=True)
class Answers:
    """What one model made of every example, in the split's order.

    Attributes:
        scores: Score of each example, ``[N]``, higher is better.
        losses: Loss of each example, ``[N]``.
        confidence: Probability of the predicted class, ``[N]``; None for tasks without classes.
        predicted: Predicted class, ``[N]``; None for tasks without one class an example.
        changed: Share of an example's predictions that differ from the dense model's, ``[N]``; None for regression.
        not_finite: Examples with a NaN or an infinity among their outputs.
        brier: Squared distance between probabilities and label, 0 to 2, ``[N]``; None for tasks without classes.
    """

    scores: np.ndarray
    losses: np.ndarray
    confidence: np.ndarray | None
    predicted: np.ndarray | None
    changed: np.ndarray | None
    not_finite: int
    brier: np.ndarray | None = None


class Runner:
    """Runs every model on each batch and keeps a few numbers an example."""

    def __init__(self, paths: dict[str, Path], target: Target, task: Task) -> None:
        self._sessions = {name: open_session(path, target) for name, path in paths.items()}
        self._task = task
        self._rows: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in paths}
        self._not_finite = dict.fromkeys(paths, 0)
        self._targets: list[np.ndarray] = []
        self._features: list[dict[str, np.ndarray]] = []
        self.gallery = Gallery()
        self.first: dict[str, np.ndarray] = {}

    def add(self, inputs: Any, targets: Any) -> None:
        """Run one batch."""
        outputs = {name: self._run(name, inputs) for name in self._sessions}
        if not self.first:
            feed = feed_for(self._sessions[CANDIDATE], inputs, name=CANDIDATE)
            self.first = {key: value[:RECORDED_EXAMPLES] for key, value in feed.items()}
        for name, output in outputs.items():
            self._keep(name, output, targets, outputs[DENSE])
        if torch.is_tensor(targets) and targets.dim() == 1 and not targets.is_floating_point():
            self._targets.append(targets.numpy())
        self._features.append(simple_features(inputs))
        self._show(inputs)

    def answers(self) -> dict[str, Answers]:
        """Return what was kept, as one array a model and quantity."""
        if not self._rows[DENSE]:
            raise InputError("data: the split to judge on is empty.", "Give it at least one example.")
        return {name: self._joined(name) for name in self._rows}

    def try_out(self, inputs: Any, targets: Any) -> dict[str, dict[str, np.ndarray]]:
        """Return scores and signals of dense and candidate on a batch, and keep nothing of it."""
        return {name: _doubles(self._under(self._run(name, inputs), targets)) for name in (DENSE, CANDIDATE)}

    def features(self) -> dict[str, np.ndarray]:
        """Return simple features of every example by name, ``[N]`` each."""
        return {name: np.concatenate([part[name] for part in self._features]) for name in self._features[0]}

    def labels(self) -> np.ndarray | None:
        """Return the class of each example, where the task has classes."""
        if not self._targets or "predicted_class" not in self._rows[DENSE]:
            return None
        return np.concatenate(self._targets)

    def _run(self, name: str, inputs: Any) -> Any:
        try:
            values = self._sessions[name].run(None, feed_for(self._sessions[name], inputs, name=name))
        except InputError:
            raise
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise InputError(
                f"data: the {name} model fails on the data: {error}",
                "Export the model with the inputs that the dataset yields.",
            ) from error
        found = [torch.from_numpy(np.ascontiguousarray(value)) for value in values]
        return found[0] if len(found) == 1 else tuple(found)

    def _keep(self, name: str, output: Any, targets: Any, dense: Any) -> None:
        self._task.check(output, targets)
        rows = {"losses": self._task.loss(output, targets)} | self._under(output, targets)
        if isinstance(self._task, tasks.Classification):
            rows["brier"] = brier(output, targets)
        if "confidence" in rows and (changed := _changed(output, dense)) is not None:
            rows["changed"] = changed
        finite = torch.stack([value.reshape(len(value), -1).isfinite().all(dim=1) for value in tensors(output)]).all(
            dim=0
        )
        self._not_finite[name] += int((~finite).sum())
        for key, value in _doubles(rows).items():
            self._rows[name].setdefault(key, []).append(value)

    def _under(self, output: Any, targets: Any) -> dict[str, Any]:
        arrays = output.numpy() if torch.is_tensor(output) else [value.numpy() for value in output]
        return {"scores": self._task.score(output, targets)} | self._task.signals(arrays)

    def _joined(self, name: str) -> Answers:
        rows = {key: np.concatenate(parts) for key, parts in self._rows[name].items()}
        predicted = rows.get("predicted_class")
        return Answers(
            scores=rows["scores"],
            losses=rows["losses"],
            confidence=rows.get("confidence") if predicted is not None else None,
            predicted=predicted.astype(np.int64) if predicted is not None else None,
            changed=rows.get("changed"),
            not_finite=self._not_finite[name],
            brier=rows.get("brier"),
        )

    def _show(self, inputs: Any) -> None:
        """Offer the batch to the gallery of disagreements."""
        last = {name: {key: parts[-1] for key, parts in rows.items()} for name, rows in self._rows.items()}
        if self._targets and "predicted_class" in last[DENSE]:
            self.gallery.add(inputs, self._targets[-1], last[DENSE], last[CANDIDATE])


def feed_for(session: "InferenceSession", inputs: Any, *, name: str) -> dict[str, np.ndarray]:
    """Return collated inputs under the names that a graph asks for.

    Args:
        session: A session of the model.
        inputs: A tensor, a tuple of tensors in the graph's order, or a dict of tensors by its names.
        name: What the model is called in messages.

    Raises:
        InputError: The data has other inputs than the graph.
    """
    names = [item.name for item in session.get_inputs()]
    if isinstance(inputs, dict):
        missing = [key for key in names if key not in inputs]
        if missing:
            raise InputError(
                f"data: the {name} model asks for {missing[0]!r}, which the data lacks.", "Export it again."
            )
        return {key: inputs[key].numpy() for key in names}
    given = tensors(inputs)
    if len(given) != len(names):
        raise InputError(
            f"data: the {name} model takes {len(names)} inputs ({', '.join(names)}), the data gives {len(given)}.",
            "Export the model with the inputs that the dataset yields.",
        )
    return {key: value.numpy() for key, value in zip(names, given, strict=True)}


def _doubles(rows: dict[str, Any]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value, dtype=np.float64) for key, value in rows.items()}


def brier(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the squared distance between probabilities and labels, ``[N]`` (Brier 1950, Monthly Weather Rev. 78:1)."""
    probabilities = logits.double().softmax(dim=1)
    return (probabilities - F.one_hot(targets.long(), probabilities.shape[1])).square().sum(dim=1)


def _changed(output: Any, dense: Any) -> Tensor | None:
    """Return the share of predictions that differ, ``[N]``; the last dimension holds scores of classes or tokens."""
    if not (torch.is_tensor(output) and output.dim() in (2, 3) and output.shape == dense.shape):
        return None
    return (output.argmax(dim=-1) != dense.argmax(dim=-1)).reshape(len(output), -1).double().mean(dim=1)
