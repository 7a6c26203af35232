"""What each model makes of every example: the ONNX files run side by side, and a few numbers kept of each answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reprune.config.target import Target
from reprune.data.datasets import tensors
from reprune.data.scoring import Scoring, brier
from reprune.errors import InputError
from reprune.gate.disagreements import Gallery
from reprune.gate.input_features import simple_features
from reprune.inference.session import open_session

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

    def __init__(self, paths: dict[str, Path], target: Target, scoring: Scoring) -> None:
        self._sessions = {name: open_session(path, target) for name, path in paths.items()}
        self._scoring = scoring
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
        if isinstance(targets, np.ndarray) and targets.ndim == 1 and not np.issubdtype(targets.dtype, np.floating):
            self._targets.append(targets)
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
        return values[0] if len(values) == 1 else tuple(values)

    def _keep(self, name: str, output: Any, targets: Any, dense: Any) -> None:
        self._scoring.check(output, targets)
        rows = {"losses": self._scoring.loss(output, targets)} | self._under(output, targets)
        if self._scoring.class_logits:
            rows["brier"] = brier(output, targets)
        if "confidence" in rows and (changed := _changed(output, dense)) is not None:
            rows["changed"] = changed
        finite = [np.isfinite(value.reshape(len(value), -1)).all(axis=1) for value in tensors(output)]
        self._not_finite[name] += int((~np.all(finite, axis=0)).sum())
        for key, value in _doubles(rows).items():
            self._rows[name].setdefault(key, []).append(value)

    def _under(self, output: Any, targets: Any) -> dict[str, Any]:
        return {"scores": self._scoring.score(output, targets)} | self._scoring.signals(output)

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
        inputs: An array, a tuple of arrays in the graph's order, or a dict of arrays by its names.
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
        return {key: inputs[key] for key in names}
    given = tensors(inputs)
    if len(given) != len(names):
        raise InputError(
            f"data: the {name} model takes {len(names)} inputs ({', '.join(names)}), the data gives {len(given)}.",
            "Export the model with the inputs that the dataset yields.",
        )
    return dict(zip(names, given, strict=True))


def _doubles(rows: dict[str, Any]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value, dtype=np.float64) for key, value in rows.items()}


def _changed(output: Any, dense: Any) -> np.ndarray | None:
    """Return the share of predictions that differ, ``[N]``; the last dimension holds scores of classes or tokens."""
    if not (isinstance(output, np.ndarray) and output.ndim in (2, 3) and output.shape == dense.shape):
        return None
    return np.asarray((output.argmax(axis=-1) != dense.argmax(axis=-1)).reshape(len(output), -1).mean(axis=1))
