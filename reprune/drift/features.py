"""What drift is looked for in: inputs and predictions of examples, as named columns.

Inputs of up to 256 values are watched value by value. Larger ones are pooled to a grid of 8 × 8 over their last two
dimensions (64 steps of a long vector), beside the means of up to 16 channels. Whole numbers that are few enough to be
tokens are watched by position and as the share of each of 64 buckets of tokens. Every input that is an image or a
sequence has its summaries (`reprune.data.feature_summaries`) too. The model's penultimate layer is watched as a whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reprune.config.drift import Group
from reprune.config.entry_points import describe
from reprune.config.target import Target
from reprune.data.feature_summaries import numbers, summaries
from reprune.data.signals import Signals
from reprune.drift.embeddings import pooled, with_embedding
from reprune.errors import InputError, first_line
from reprune.inference.session import open_session

LARGEST_VECTOR = 256
GRID = 8
CHANNELS = 16
BUCKETS = 64
BATCH = 256

Array = NDArray[Any]


class Examples(Protocol):
    """What a sample is taken from: a window of the prediction log, or a dataset (`reprune.drift.dataset`)."""

    def __len__(self) -> int:
        """Return how many there are."""

    def batches(self, chosen: NDArray[np.int64], size: int) -> Iterator[tuple[Mapping[str, Array], Array | None]]:
        """Yield the chosen examples in order: inputs as the model takes them, and labels ``[N]`` if each has one."""


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


def sample(
    examples: Examples, model: Path, signals: Signals, *, limit: int, seed: int, name: str, embed: bool = True
) -> Sample:
    """Return a bounded random sample of examples, with what the served model says to it.

    Args:
        examples: Where it is taken from.
        model: The ONNX file that is served.
        signals: The task's: what of the outputs is watched.
        limit: Most examples taken.
        seed: Seed of the choice.
        name: What the examples are, for messages.
        embed: Whether to watch the model's penultimate layer too, where it has one.

    Raises:
        InputError: Examples of different shapes, values that are not finite, or inputs that the model refuses.
    """
    chosen = np.arange(len(examples))
    if len(chosen) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
    embedder = with_embedding(model) if embed else None
    session = open_session(embedder or model, Target())
    parts: list[dict[Column, NDArray[np.float32]]] = []
    shapes: dict[str, str] = {}
    done = 0
    for inputs, labels in _batches(examples, chosen, name):
        _finite(inputs, chosen[done:], name=name)
        shapes = {key: f"{value.dtype} {list(value.shape[1:])}" for key, value in inputs.items()}
        try:
            outputs = session.run(None, dict(inputs))
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise InputError(
                f"{name}: the champion refuses inputs of {_described(shapes)}: {first_line(error)}",
                "Give inputs of the shape and type that it was trained on.",
            ) from error
        count = len(next(iter(inputs.values())))
        embedding = _embedding(outputs.pop(), count) if embedder else {}
        answers = [np.asarray(output) for output in outputs]
        parts.append(_columns(inputs, answers, labels, signals) | embedding)
        done += count
    if not parts:
        return Sample((), np.zeros((0, 0), dtype=np.float32), shapes)
    columns = tuple(parts[0])
    return Sample(columns, np.concatenate([np.stack([part[c] for c in columns], axis=1) for part in parts]), shapes)


def _batches(
    examples: Examples, chosen: NDArray[np.int64], name: str
) -> Iterator[tuple[Mapping[str, Array], Array | None]]:
    try:
        yield from examples.batches(chosen, BATCH)
    except Exception as error:  # the user's dataset may raise anything
        raise InputError(
            f"{name}: its examples cannot be read as batches: {describe(error)}",
            "Give every example the same shape and type, and mend what the dataset raises.",
        ) from error


def _finite(inputs: Mapping[str, Array], chosen: NDArray[np.int64], *, name: str) -> None:
    for key, value in inputs.items():
        bad = ~np.isfinite(value).reshape(len(value), -1).all(axis=1)
        if bad.any():
            raise InputError(
                f"{name}: example {chosen[bad.argmax()]} has values that are not finite in {key!r} ({bad.sum()} such "
                f"examples in a batch of {len(value)}).",
                "Mend what writes the window, or leave such examples out.",
            )


def _columns(
    inputs: Mapping[str, Array], outputs: list[Array], labels: Array | None, signals: Signals
) -> dict[Column, NDArray[np.float32]]:
    columns: dict[Column, NDArray[np.float32]] = {}
    for key, value in inputs.items():
        columns |= {Column(name, "inputs"): column for name, column in input_columns(key, value).items()}
    for name, signal in signals(outputs[0] if len(outputs) == 1 else outputs).items():
        columns[Column(name, "predictions", categorical=not _is_float(signal))] = numbers(signal)
    if labels is not None:
        columns[Column("label", "labels", categorical=not _is_float(labels))] = numbers(labels)
    return columns


def _embedding(layer: Any, examples: int) -> dict[Column, NDArray[np.float32]]:
    """Return the penultimate layer as columns; none where it does not have a row for each example."""
    if np.ndim(layer) < 2 or len(layer) != examples:
        return {}
    values = numbers(pooled(layer))
    return {Column(f"embedding[{i}]", "embeddings"): column for i, column in enumerate(values.T)}


def input_columns(name: str, value: Array) -> dict[str, NDArray[np.float32]]:
    """Return what is watched of an input, ``[N]`` each, by name.

    Args:
        name: The input's.
        value: ``[N, ...]``.
    """
    columns = {f"{name}{index}": numbers(column) for index, column in _positions(value)}
    if value.ndim > 2 or value.size > len(value) * LARGEST_VECTOR:
        columns |= {f"{name} {key}": column for key, column in summaries(value).items()}
    if not _is_float(value) and value.ndim >= 2:
        buckets = value.reshape(len(value), -1).astype(np.int64) % BUCKETS
        shares = {b: (buckets == b).mean(axis=1) for b in range(BUCKETS)}
        columns |= {f"{name} tokens ≡ {b} (mod {BUCKETS})": numbers(share) for b, share in shares.items()}
    return columns


def _positions(value: Array) -> Iterator[tuple[str, Array]]:
    """Yield the values of an input, or of what it is pooled to."""
    if value.ndim == 1:
        yield "", value
        return
    if value.size > len(value) * LARGEST_VECTOR:
        if value.ndim > 2:
            yield from _channels(value)
        value = _pooled(value.astype(np.float64))
    squeezed = value.reshape(len(value), *(size for size in value.shape[1:] if size != 1))
    squeezed = squeezed if squeezed.ndim > 1 else squeezed[:, None]
    for index in np.ndindex(*squeezed.shape[1:]):
        yield f"[{', '.join(map(str, index))}]", squeezed[(slice(None), *index)]


def _channels(value: Array) -> Iterator[tuple[str, Array]]:
    if value.ndim > 3 and 1 < value.shape[1] <= CHANNELS:
        for channel in range(value.shape[1]):
            mean = value[:, channel].reshape(len(value), -1).mean(axis=1, dtype=np.float64)
            yield f" channel {channel} mean", mean


def _pooled(value: Array) -> Array:
    if value.ndim == 2:
        return _averaged(value, GRID * GRID)
    height, width = value.shape[-2:]
    plane = value.reshape(len(value), -1, height, width).mean(axis=1)
    return _averaged(_averaged(plane, min(GRID, width)).swapaxes(1, 2), min(GRID, height)).swapaxes(1, 2)


def _averaged(value: Array, parts: int) -> Array:
    """Return means over as many parts of the last dimension, which overlap where its length is no multiple."""
    size = value.shape[-1]
    bounds = [(i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)]
    return np.stack([value[..., start:end].mean(axis=-1) for start, end in bounds], axis=-1)


def _is_float(values: Array) -> bool:
    return bool(np.issubdtype(values.dtype, np.floating))


def _described(shapes: dict[str, str]) -> str:
    return ", ".join(f"{name}: {shape}" for name, shape in shapes.items())
