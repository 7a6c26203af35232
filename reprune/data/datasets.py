"""The workload's data: its splits, and batches of them, as tensors to train on or as arrays to run ONNX files on."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sized
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from reprune.config import entry_points
from reprune.config.workload import Evaluation
from reprune.errors import InputError

if TYPE_CHECKING:
    from torch.utils.data import DataLoader, Dataset

EVALUATION_BATCH = 256

Batch = tuple[Any, Any]
"""Inputs (a tensor, a tuple of tensors or a dict of tensors; or arrays in their place) and targets, collated."""


class Arrays:
    """Examples in arrays, as a map-style dataset that needs no torch.

    Args:
        inputs: One row an example, ``[N, ...]``.
        targets: As many rows.
    """

    def __init__(self, inputs: NDArray[Any], targets: NDArray[Any]) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return input and target of one example."""
        return np.asarray(self.inputs[index]), np.asarray(self.targets[index])


class Data:
    """The splits of a workload, each loaded once and checked for the errors that would surface late.

    Args:
        source: A workload, or an evaluation: names the loading function and the splits that come from elsewhere.
    """

    def __init__(self, source: Evaluation) -> None:
        self._source = source
        self._load = cache(self._load_split)

    def split(self, name: str) -> "Dataset[Any]":
        """Return one split as a map-style dataset (``train`` may be iterable).

        Raises:
            InputError: The split is missing, empty, or no dataset of ``(input, target)``.
        """
        dataset = self._load(name)
        if dataset is None:
            raise InputError(
                f"data: {self._source.data or 'the workload'} has no {name} split.",
                f"Return a dataset for {name!r}, or name an .npz file or an entry point under `splits`.",
            )
        return dataset

    def production(self) -> "Dataset[Any] | None":
        """Return the latest production window, or None where there is none."""
        return self._load("production")

    def batches(self, name: str, *, batch_size: int = EVALUATION_BATCH, limit: int | None = None) -> Iterator[Batch]:
        """Yield one split in order, without shuffling, as tensors.

        Args:
            name: The split.
            batch_size: Examples a batch.
            limit: Only the first so many examples (all splits of a map-style dataset).
        """
        return iter_batches(self.split(name), batch_size=batch_size, limit=limit)

    def arrays(self, name: str, *, batch_size: int = EVALUATION_BATCH, limit: int | None = None) -> Iterator[Batch]:
        """Yield the same batches of a map-style split as arrays, without torch unless the split brings it along."""
        return iter_arrays(self.split(name), batch_size=batch_size, limit=limit)

    def training_batches(self, *, batch_size: int, seed: int) -> "DataLoader[Any]":
        """Return the shuffled train split; the order depends on the seed alone."""
        import torch
        from torch.utils.data import DataLoader, IterableDataset

        dataset = self.split("train")
        if isinstance(dataset, DataLoader):
            return dataset
        if isinstance(dataset, IterableDataset):
            return DataLoader(dataset, batch_size=batch_size)
        return DataLoader(dataset, batch_size=batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed))

    def example(self, *, batch_size: int = 2, split: str = "validation") -> Any:
        """Return the inputs of the first examples of a split, collated: what models are traced with."""
        inputs, _ = next(self.batches(split, batch_size=batch_size))
        return inputs

    def _load_split(self, name: str) -> "Dataset[Any] | None":
        elsewhere = self._source.splits.get(cast(Any, name))
        if elsewhere is not None and ":" not in elsewhere:
            return cast("Dataset[Any]", _from_npz(elsewhere, key=f"splits.{name}"))
        entry_point = elsewhere or self._source.data
        if entry_point is None:
            return None
        key = f"splits.{name}" if elsewhere else "data"
        function = entry_points.resolve(entry_point, key=key)
        try:
            dataset = function() if elsewhere else function(name)
        except KeyError as error:
            if error.args == (name,) or name in str(error):
                return None
            raise InputError(
                f"{key}: {entry_point}({name!r}) raised {entry_points.describe(error)}.", "Mend the function."
            ) from error
        except Exception as error:
            raise InputError(
                f"{key}: {entry_point}({name!r}) raised {entry_points.describe(error)}.", "Mend the function."
            ) from error
        if dataset is not None:
            _check_dataset(dataset, name=name, key=key)
        return cast("Dataset[Any] | None", dataset)


def iter_batches(dataset: Any, *, batch_size: int = EVALUATION_BATCH, limit: int | None = None) -> Iterator[Batch]:
    """Yield a dataset in order as collated ``(inputs, targets)``, in tensors."""
    from torch.utils.data import DataLoader, Subset

    if isinstance(dataset, DataLoader):
        yield from dataset
        return
    if limit is not None and isinstance(dataset, Sized) and limit < len(dataset):
        dataset = Subset(cast("Dataset[Any]", dataset), range(limit))
    yield from DataLoader(dataset, batch_size=batch_size)


def iter_arrays(dataset: Any, *, batch_size: int = EVALUATION_BATCH, limit: int | None = None) -> Iterator[Batch]:
    """Yield a map-style dataset in order as collated ``(inputs, targets)``, in arrays.

    Raises:
        InputError: The examples of a batch are not alike.
    """
    examples = len(dataset) if limit is None else min(limit, len(dataset))
    for start in range(0, examples, batch_size):
        rows = [dataset[place] for place in range(start, min(start + batch_size, examples))]
        try:
            yield _collated([row[0] for row in rows]), _collated([row[1] for row in rows])
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"data: examples {start} to {start + len(rows) - 1} do not make a batch: {error}.",
                "Let all examples have the same form and shape.",
            ) from error


def _collated(values: list[Any]) -> Any:
    """Stack numbers, arrays, tensors, or tuples and dicts of them, as torch's loader would."""
    first = values[0]
    if isinstance(first, Mapping):
        return {key: _collated([value[key] for value in values]) for key in first}
    if isinstance(first, (tuple, list)):
        return tuple(_collated(list(parts)) for parts in zip(*values, strict=True))
    return np.stack([np.asarray(value) for value in values])


def count(inputs: Any) -> int:
    """Return the number of examples in collated inputs."""
    return len(tensors(inputs)[0])


def tensors(inputs: Any) -> list[Any]:
    """Return the tensors, or arrays, of collated inputs, in order."""
    if isinstance(inputs, dict):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]


def _from_npz(path: str, *, key: str) -> Arrays:
    if not Path(path).is_file():
        raise InputError(f"{key}: there is no file {path!r}.", "Name an .npz file or an entry point (module:callable).")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs, targets = arrays["inputs"], arrays["targets"]
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{key}: {path!r} cannot be read: {error}.", "Write it with numpy.savez(path, inputs=..., targets=...)."
        ) from None
    if len(inputs) != len(targets):
        raise InputError(
            f"{key}: {path!r} has {len(inputs)} inputs but {len(targets)} targets.", "Write as many of each."
        )
    if not len(inputs):
        raise InputError(f"{key}: {path!r} is empty.", "Give it at least one example.")
    return Arrays(inputs.astype(np.float32) if np.issubdtype(inputs.dtype, np.floating) else inputs, targets)


def _check_dataset(dataset: Any, *, name: str, key: str) -> None:
    if name == "train" and _is_streamed(dataset):
        return
    if not (hasattr(dataset, "__getitem__") and isinstance(dataset, Sized)):
        raise InputError(
            f"{key}: the {name} split is a {type(dataset).__name__}, not a dataset.",
            "Return something with __len__ and __getitem__ that yields (input, target).",
        )
    if not len(dataset):
        raise InputError(f"{key}: the {name} split is empty.", "Give it at least one example.")
    try:
        pair = cast(Any, dataset)[0]
    except Exception as error:
        raise InputError(
            f"{key}: the first example of {name} raised {entry_points.describe(error)}.", "Mend the dataset."
        ) from error
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
        raise InputError(
            f"{key}: an example of {name} is a {type(pair).__name__}, not (input, target).", "Yield pairs."
        )


def _is_streamed(dataset: Any) -> bool:
    from torch.utils.data import DataLoader, IterableDataset

    return isinstance(dataset, (DataLoader, IterableDataset))
