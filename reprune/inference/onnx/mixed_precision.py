"""Which operators stay in float, so that a quantized model loses no more than it may: found by measurement."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from reprune.config.target import Target
from reprune.data.datasets import Batch, count
from reprune.data.model_io import feed
from reprune.data.tasks import Task
from reprune.inference.onnx.parity import Parity, Tally
from reprune.inference.onnx.quantize import Quantizer
from reprune.inference.session import open_session

RANKED_EXAMPLES = 64
MOST_RANKED = 128
"""Operators that are tried one by one; of a larger graph those in its middle stay quantized, since the first and the
last are the ones that lose most."""

FLOAT_SHARE = 0.5
"""With more than this share of its operators in float a file is hardly quantized any more, and the search ends."""

Batches = Callable[[int | None], Iterable[Batch]]
"""Gives the first so many examples that a model is judged on, or all of them, as ``(inputs, targets)``."""


class Loss(BaseModel):
    """What a quantized file loses against the float one.

    Attributes:
        score: Mean score of the quantized file; ``float_score`` is the other's.
        parity: Differences of their outputs.
    """

    model_config = ConfigDict(frozen=True)

    score: float
    float_score: float
    parity: Parity

    @property
    def drop(self) -> float:
        """Score that is lost; NaN outputs lose all of it."""
        return self.float_score - self.score


class Mixed(BaseModel):
    """How a file was quantized.

    Attributes:
        loss: What it loses.
        holds: Whether that is within what was allowed.
        operators: Operators that could be quantized.
        in_float: Names of those that stay in float, the most sensitive first.
        tries: Files that were judged on the way, besides the ranking.
        first_drop: Score that was lost with everything quantized.
    """

    model_config = ConfigDict(frozen=True)

    loss: Loss
    holds: bool
    operators: int
    in_float: tuple[str, ...]
    tries: int
    first_drop: float


class Allowed(BaseModel):
    """What a quantized file may lose against the float one.

    Attributes:
        drop: Mean score.
        agreement: Smallest share of equal predictions.
        error: Largest difference of any output, relative to the largest output.
    """

    model_config = ConfigDict(frozen=True)

    drop: float
    agreement: float
    error: float

    def holds(self, loss: Loss) -> bool:
        """Return whether a loss is within it; NaN is not."""
        agreement, parity = loss.parity.argmax_agreement, loss.parity
        return (
            loss.drop <= self.drop
            and parity.max_abs_error <= self.error * max(parity.output_scale, 1.0)
            and (agreement is None or agreement >= self.agreement)
        )


def quantize_within(
    quantizer: Quantizer,
    reference: Path,
    path: Path,
    batches: Batches,
    task: Task,
    allowed: Allowed,
    *,
    target: Target | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> Mixed:
    """Quantize everything; where that loses too much, leave the most sensitive operators in float, as few as do.

    Operators are ranked by the error of the outputs when each alone is quantized. Then 1, 2, 4, 8 ... of them stay in
    float until the loss is allowed, and bisection finds how few suffice: about twice the logarithm of their number in
    files to judge.

    Args:
        quantizer: Has the ranges already, where its format needs them.
        reference: The float file.
        path: The file to write; it is there in the end whether it holds or not.
        batches: What both files are judged on.
        task: Gives the score.
        allowed: What may be lost.
        target: What runs the files; one CPU thread by default.
        tell: Called before each try.
    """
    judge = _Judge(quantizer, reference, path, batches, task, target or Target())
    tell("everything quantized")
    first = found = judge()
    if allowed.holds(first):
        return judge.mixed(first, True, (), first)
    ranked = judge.ranked(tell)
    most = math.floor(FLOAT_SHARE * len(quantizer.nodes))
    enough, too_few, size = None, 0, 1
    while enough is None and too_few < most:
        size = min(size, most)
        tell(f"{size} of {len(quantizer.nodes)} operators in float")
        found = judge(ranked[:size])
        if allowed.holds(found):
            enough = size
        else:
            too_few, size = size, 2 * size
    if enough is None:
        return judge.mixed(found, False, ranked[:too_few], first)
    kept = found
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        tell(f"{middle} of {len(quantizer.nodes)} operators in float")
        found = judge(ranked[:middle])
        if allowed.holds(found):
            enough, kept = middle, found
        else:
            too_few = middle
    quantizer.write(path, leave=ranked[:enough])
    return judge.mixed(kept, True, ranked[:enough], first)


class _Judge:
    """Quantizes with some operators in float and compares the file with the float one."""

    def __init__(
        self, quantizer: Quantizer, reference: Path, path: Path, batches: Batches, task: Task, target: Target
    ) -> None:
        self._quantizer, self._reference, self._path = quantizer, reference, path
        self._batches, self._task, self._target = batches, task, target
        self._tries = 0

    def __call__(self, leave: Sequence[str] = ()) -> Loss:
        self._tries += 1
        self._quantizer.write(self._path, leave=leave)
        return compare_files(self._reference, self._path, self._batches(None), self._task, self._target)

    def ranked(self, tell: Callable[[str], object]) -> list[str]:
        """Return the operators, the one whose quantization alone moves the outputs most first."""
        nodes = list(self._quantizer.nodes)
        if len(nodes) > MOST_RANKED:
            nodes = nodes[: MOST_RANKED // 2] + nodes[-MOST_RANKED // 2 :]
        errors = {}
        for place, node in enumerate(nodes):
            tell(f"sensitivity of operator {place + 1} of {len(nodes)}")
            self._quantizer.write(self._path, only=[node])
            batches = self._batches(RANKED_EXAMPLES)
            loss = compare_files(self._reference, self._path, batches, self._task, self._target)
            error = loss.parity.mean_abs_error
            errors[node] = error if math.isfinite(error) else math.inf
        return sorted(nodes, key=lambda node: -errors[node])

    def mixed(self, loss: Loss, holds: bool, left: Sequence[str], first: Loss) -> Mixed:
        return Mixed(
            loss=loss,
            holds=holds,
            operators=len(self._quantizer.nodes),
            in_float=tuple(left),
            tries=self._tries,
            first_drop=first.drop,
        )


def compare_files(
    reference: str | Path, path: str | Path, batches: Iterable[Batch], task: Task, target: Target
) -> Loss:
    """Run two ONNX files side by side over examples and compare scores and outputs.

    Args:
        reference: The file that errors are measured from.
        path: The other file, of the same inputs and outputs.
        batches: Inputs and targets.
        task: Gives the score.
        target: What runs the files.

    Raises:
        InputError: A file is refused by the runtime, or there are no examples.
    """
    sessions = [open_session(file, target) for file in (reference, path)]
    tally = Tally()
    scores: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for inputs, targets in batches:
        both = [session.run(None, feed(inputs)) for session in sessions]
        tally.add(both[0], both[1], count(inputs))
        for kept, values in zip(scores, both, strict=True):
            found = [torch.from_numpy(np.ascontiguousarray(value)) for value in values]
            output = found[0] if len(found) == 1 else tuple(found)
            kept.append(task.score(output, targets).double().numpy())
    parity = tally.result()
    float_score, score = (float(np.concatenate(rows).mean()) for rows in scores)
    return Loss(score=score, float_score=float_score, parity=parity)
