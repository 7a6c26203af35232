"""Datasets as examples that a sample can be taken from; the one part of drift detection that needs torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from reprune import hashing
from reprune.config.workload import Workload
from reprune.data import signals
from reprune.data.datasets import Data, iter_batches
from reprune.data.model_io import feed
from reprune.drift.features import Array, sample
from reprune.drift.reference import LIMIT, Reference

SPLITS = ("validation", "test")
"""Where a reference's examples come from. The train split is left out: augmented, and a model is too sure of what it
has seen."""


class DatasetExamples:
    """The examples of a dataset; a target that is no single number an example is no label.

    Args:
        dataset: Map-style, yields ``(input, target)``.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def batches(self, chosen: NDArray[np.int64], size: int) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """Yield the chosen examples, read with a seed of their own: the same ones give the same values."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for inputs, targets in iter_batches(Subset(self._dataset, chosen.tolist()), batch_size=size):
                labelled = torch.is_tensor(targets) and targets.dim() == 1
                yield feed(inputs), targets.numpy() if labelled else None


def freeze_reference(workload: Workload, model: Path) -> Reference:
    """Return the reference of a model about to become champion, from the validation and test splits.

    Args:
        workload: Names the data and the task.
        model: The ONNX file that will be served.
    """
    data = Data(workload)
    held_out: ConcatDataset[Any] = ConcatDataset([data.split(split) for split in SPLITS])
    frozen = sample(
        DatasetExamples(held_out),
        model,
        signals.find(workload.task),
        limit=LIMIT,
        seed=workload.seed,
        name="validation and test",
    )
    return Reference(frozen, hashing.of_file(model))
