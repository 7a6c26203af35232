"""The workload's data: its splits, and batches of them."""

import zipfile
import zlib
from collections.abc import Iterator, Sized
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from reprune import entrypoints
from reprune.errors import InputError
from reprune.workload import Evaluation

EVALUATION_BATCH = 256

Batch = tuple[Any, Any]
"""Inputs (a tensor, a tuple of tensors or a dict of tensors) and targets, collated."""


class Data:
    """The splits of a workload, each loaded once and checked for the errors that would surface late.

    Args:
        source: A workload, or an evaluation: names the loading function and the splits that come from elsewhere.
    """

    def __init__(self, source: Evaluation) -> None:
        self._source = source
        self._load = cache(self._load_split)

    def split(self, name: str) -> Dataset[Any]:
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

    def production(self) -> Dataset[Any] | None:
        """Return the latest production window, or None where there is none."""
        return self._load("production")

    def batches(self, name: str, *, batch_size: int = EVALUATION_BATCH, limit: int | None = None) -> Iterator[Batch]:
        """Yield one split in order, without shuffling.

        Args:
            name: The split.
            batch_size: Examples a batch.
            limit: Only the first so many examples (all splits of a map-style dataset).
        """
        return iter_batches(self.split(name), batch_size=batch_size, limit=limit)

    def training_batches(self, *, batch_size: int, seed: int) -> DataLoader[Any]:
        """Return the shuffled train split; the order depends on the seed alone."""
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

    def _load_split(self, name: str) -> Dataset[Any] | None:
        elsewhere = self._source.splits.get(cast(Any, name))
        if elsewhere is not None and ":" not in elsewhere:
            return _from_npz(elsewhere, key=f"splits.{name}")
        entry_point = elsewhere or self._source.data
        if entry_point is None:
            return None
        key = f"splits.{name}" if elsewhere else "data"
        function = entrypoints.resolve(entry_point, key=key)
        try:
            dataset = function() if elsewhere else function(name)
        except KeyError as error:
            if error.args == (name,) or name in str(error):
                return None
            raise InputError(
                f"{key}: {entry_point}({name!r}) raised {entrypoints.describe(error)}.", "Mend the function."
            ) from error
        except Exception as error:
            raise InputError(
                f"{key}: {entry_point}({name!r}) raised {entrypoints.describe(error)}.", "Mend the function."
            ) from error
        if dataset is not None:
            _check_dataset(dataset, name=name, key=key)
        return cast("Dataset[Any] | None", dataset)


def iter_batches(dataset: Any, *, batch_size: int = EVALUATION_BATCH, limit: int | None = None) -> Iterator[Batch]:
    """Yield a dataset in order as collated ``(inputs, targets)``."""
    if isinstance(dataset, DataLoader):
        yield from dataset
        return
    if limit is not None and isinstance(dataset, Sized) and limit < len(dataset):
        dataset = Subset(cast("Dataset[Any]", dataset), range(limit))
    yield from DataLoader(dataset, batch_size=batch_size)


def count(inputs: Any) -> int:
    """Return the number of examples in collated inputs."""
    return len(tensors(inputs)[0])


def tensors(inputs: Any) -> list[Tensor]:
    """Return the tensors of collated inputs, in order."""
    if isinstance(inputs, dict):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]


def _from_npz(path: str, *, key: str) -> Dataset[Any]:
    if not Path(path).is_file():
        raise InputError(f"{key}: there is no file {path!r}.", "Name an .npz file or an entry point (module:callable).")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs, targets = torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["targets"])
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
    return TensorDataset(inputs.float() if inputs.is_floating_point() else inputs, targets)


def _check_dataset(dataset: Any, *, name: str, key: str) -> None:
    if name == "train" and isinstance(dataset, (DataLoader, IterableDataset)):
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
            f"{key}: the first example of {name} raised {entrypoints.describe(error)}.", "Mend the dataset."
        ) from error
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
        raise InputError(
            f"{key}: an example of {name} is a {type(pair).__name__}, not (input, target).", "Yield pairs."
        )
