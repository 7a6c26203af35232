"""What drift is looked for in: inputs and predictions of examples, as named columns.

Inputs of up to 256 values are watched value by value. Larger ones are pooled to a grid of 8 × 8 over their last two
dimensions (64 steps of a long vector), beside the means of up to 16 channels. Whole numbers that are few enough to be
tokens are watched by position and as the share of each of 64 buckets of tokens. Every input that is an image or a
sequence has its summaries (`reprune.summaries`) too. The model's penultimate layer is watched as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from reprune.data import iter_batches
from reprune.drift.embeddings import pooled, with_embedding
from reprune.drift.policy import Group
from reprune.entrypoints import describe
from reprune.errors import InputError
from reprune.hardware.session import open_session
from reprune.hardware.target import Target
from reprune.structure import feed, named_inputs
from reprune.summaries import numbers, summaries
from reprune.tasks import Task

LARGEST_VECTOR = 256
GRID = 8
CHANNELS = 16
BUCKETS = 64
BATCH = 256


@dataclass(frozen=True)
class Column:
    """One thing that is watched.

    Attributes:
        name: Such as ``input[2, 5]``, ``confidence``.
        group: Inputs, predictions or labels.
        categorical: Whether its values are categories and not amounts.
    """

    name: str
    group: Group
    categorical: bool = False


@dataclass(frozen=True)
class Sample:
    """Examples as rows of watched columns.

    Attributes:
        columns: What each column is.
        values: ``[N, columns]``, float32.
        shapes: Shape and type of one example's inputs, by name.
    """

    columns: tuple[Column, ...]
    values: NDArray[np.float32]
    shapes: dict[str, str]

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, chosen: NDArray[np.int64]) -> "Sample":
        """Return some of the examples."""
        return Sample(self.columns, self.values[chosen], self.shapes)

    def only(self, columns: tuple[Column, ...]) -> "Sample":
        """Return some of the columns, in the order asked for."""
        return Sample(columns, self.values[:, [self.columns.index(column) for column in columns]], self.shapes)


def sample(dataset: Any, model: Path, task: Task, *, limit: int, seed: int, name: str, embed: bool = True) -> Sample:
    """Return a bounded random sample of a dataset, with what the served model says to it.

    Args:
        dataset: Map-style, yields ``(input, target)``.
        model: The ONNX file that is served.
        task: Says what of the outputs is watched.
        limit: Most examples taken.
        seed: Seed of the choice.
        name: The dataset's name, for messages.
        embed: Whether to watch the model's penultimate layer too, where it has one.

    Raises:
        InputError: Examples of different shapes, values that are not finite, or inputs that the model refuses.
    """
    chosen = np.arange(len(dataset))
    if len(chosen) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
    embedder = with_embedding(model) if embed else None
    session = open_session(embedder or model, Target())
    parts: list[dict[Column, NDArray[np.float32]]] = []
    shapes: dict[str, str] = {}
    for inputs, targets in _batches(dataset, chosen, name):
        named = named_inputs(inputs)
        _finite(named, chosen, offset=sum(len(next(iter(part.values()))) for part in parts), name=name)
        shapes = {
            key: f"{str(value.dtype).removeprefix('torch.')} {list(value.shape[1:])}" for key, value in named.items()
        }
        try:
            outputs = session.run(None, feed(inputs))
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise InputError(
                f"{name}: the champion refuses inputs of {_described(shapes)}: {str(error).splitlines()[0]}",
                "Give inputs of the shape and type that it was trained on.",
            ) from error
        embedding = _embedding(outputs.pop(), len(targets)) if embedder else {}
        answers = [torch.from_numpy(np.asarray(output)) for output in outputs]
        parts.append(_columns(named, answers, targets, task) | embedding)
    if not parts:
        return Sample((), np.zeros((0, 0), dtype=np.float32), shapes)
    columns = tuple(parts[0])
    return Sample(columns, np.concatenate([np.stack([part[c] for c in columns], axis=1) for part in parts]), shapes)


def _batches(dataset: Any, chosen: NDArray[np.int64], name: str) -> Iterator[tuple[Any, Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            yield from iter_batches(torch.utils.data.Subset(dataset, chosen.tolist()), batch_size=BATCH)
        except Exception as error:  # the user's dataset may raise anything
            raise InputError(
                f"{name}: its examples cannot be read as batches: {describe(error)}",
                "Give every example the same shape and type, and mend what the dataset raises.",
            ) from error


def _finite(named: dict[str, Tensor], chosen: NDArray[np.int64], *, offset: int, name: str) -> None:
    for key, value in named.items():
        bad = ~value.isfinite().reshape(len(value), -1).all(dim=1)
        if bad.any():
            first = chosen[offset + int(bad.nonzero()[0])]
            raise InputError(
                f"{name}: example {first} has values that are not finite in {key!r} ({int(bad.sum())} such examples "
                f"in a batch of {len(value)}).",
                "Mend what writes the window, or leave such examples out.",
            )


def _columns(
    named: dict[str, Tensor], outputs: list[Tensor], targets: Any, task: Task
) -> dict[Column, NDArray[np.float32]]:
    columns: dict[Column, NDArray[np.float32]] = {}
    for key, value in named.items():
        columns |= {Column(name, "inputs"): column for name, column in input_columns(key, value).items()}
    for name, signal in task.signals(outputs[0] if len(outputs) == 1 else outputs).items():
        categorical = not signal.is_floating_point()
        columns[Column(name, "predictions", categorical)] = numbers(signal)
    return columns | _labels(targets)


def _embedding(layer: Any, examples: int) -> dict[Column, NDArray[np.float32]]:
    """Return the penultimate layer as columns; none where it does not have a row for each example."""
    if np.ndim(layer) < 2 or len(layer) != examples:
        return {}
    values = numbers(torch.from_numpy(pooled(layer)))
    return {Column(f"embedding[{i}]", "embeddings"): column for i, column in enumerate(values.T)}


def _labels(targets: Any) -> dict[Column, NDArray[np.float32]]:
    """Return the label of each example; of a sequence of labels, none: the inputs say it all."""
    if not torch.is_tensor(targets) or targets.dim() != 1:
        return {}
    return {Column("label", "labels", categorical=not targets.is_floating_point()): numbers(targets)}


def input_columns(name: str, value: Tensor) -> dict[str, NDArray[np.float32]]:
    """Return what is watched of an input, ``[N]`` each, by name.

    Args:
        name: The input's.
        value: ``[N, ...]``.
    """
    columns = {f"{name}{index}": numbers(column) for index, column in _positions(value)}
    if value.dim() > 2 or value.numel() > len(value) * LARGEST_VECTOR:
        columns |= {f"{name} {key}": column for key, column in summaries(value).items()}
    if not value.is_floating_point() and value.dim() >= 2:
        tokens = F.one_hot(value.reshape(len(value), -1).long() % BUCKETS, BUCKETS).double().mean(dim=1)
        columns |= {f"{name} tokens ≡ {b} (mod {BUCKETS})": numbers(tokens[:, b]) for b in range(BUCKETS)}
    return columns


def _positions(value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the values of an input, or of what it is pooled to."""
    if value.dim() == 1:
        yield "", value
        return
    if value.numel() > len(value) * LARGEST_VECTOR:
        if value.dim() > 2:
            yield from _channels(value)
        value = _pooled(value.double())
    squeezed = value.reshape(len(value), *(size for size in value.shape[1:] if size != 1))
    squeezed = squeezed if squeezed.dim() > 1 else squeezed[:, None]
    for index in np.ndindex(*squeezed.shape[1:]):
        yield f"[{', '.join(map(str, index))}]", squeezed[(slice(None), *index)]


def _channels(value: Tensor) -> Iterator[tuple[str, Tensor]]:
    if value.dim() > 3 and 1 < value.shape[1] <= CHANNELS:
        for channel in range(value.shape[1]):
            yield f" channel {channel} mean", value[:, channel].reshape(len(value), -1).double().mean(dim=1)


def _pooled(value: Tensor) -> Tensor:
    if value.dim() == 2:
        return F.adaptive_avg_pool1d(value[:, None], GRID * GRID)[:, 0]
    height, width = value.shape[-2:]
    planes = value.reshape(len(value), -1, height, width).mean(dim=1, keepdim=True)
    return F.adaptive_avg_pool2d(planes, (min(GRID, height), min(GRID, width)))[:, 0]


def _described(shapes: dict[str, str]) -> str:
    return ", ".join(f"{name}: {shape}" for name, shape in shapes.items())
