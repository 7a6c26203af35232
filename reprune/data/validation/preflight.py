"""What cannot work at all, found in one bounded pass over every split."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from reprune.config.workload import SPLITS, Workload
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.data.validation.examples import Example, examples, leaves, total
from reprune.data.validation.tabular import Table, columns, joined
from reprune.data.validation.task_check import Judge, Spec
from reprune.errors import InputError
from reprune.pruning import bundle

BATCH = 64


@dataclass
class Split:
    """What one pass over a split leaves.

    Attributes:
        name: The split.
        total: Its number of examples.
        indices: The examples that were looked at.
        inputs: Digest of each one's input.
        digest: Digest of all their inputs and targets.
        table: One row for each of them (see `table`).
        spec: Type and shape of each input and target.
    """

    name: str
    total: int = 0
    indices: list[int] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    digest: str = ""
    table: Table = field(default_factory=dict)
    spec: Spec = field(default_factory=dict)


def preflight(workload: Workload) -> dict[str, Split]:
    """Read every split and run the model once on each.

    Raises:
        InputError: Values that are not finite, an empty split, examples that differ in shape or type, a model that is
            no module or refuses the inputs, targets that the task refuses: with the split, the example's index and the
            remedy.
    """
    data, task = Data(workload), tasks.find(workload.task)
    model = bundle.build(workload.model, key="model").eval()
    found: dict[str, Split] = {}
    for name in SPLITS:
        dataset = data.production() if name == "production" else data.split(name)
        if dataset is not None:
            found[name] = read(dataset, name, Judge(model, task, workload.model, name))
            _same_spec(found["train"], found[name])
    return found


def read(dataset: Any, name: str = "data", judge: Judge | None = None) -> Split:
    """Read one dataset, at most 10,000 evenly spaced examples of it.

    Raises:
        InputError: As `preflight`.
    """
    split, digest, tables = Split(name), hashlib.sha256(), []
    for batch in _batches(examples(dataset, name)):
        rows = [_leaves(example, split) for example in batch]
        for (index, _, _), row in zip(batch, rows, strict=True):
            split.indices.append(index)
            split.inputs.append(_digest(row, targets=False))
            digest.update(split.inputs[-1] + _digest(row, targets=True))
        stacked = {key: torch.stack([row[key] for row in rows]) for key in split.spec}
        _finite(stacked, batch, name)
        if judge is not None:
            judge.check(batch, split.spec)
        tables.append(columns(stacked))
    if not split.indices:
        raise InputError(f"data: the {name} split is empty.", "Give it at least one example.")
    split.total = total(dataset) or len(split.indices)
    digest.update(str(split.total).encode())
    split.digest, split.table = digest.hexdigest(), joined(tables)
    return split


def _leaves(example: Example, split: Split) -> dict[str, Tensor]:
    """Return an example as named tensors, of the same shapes and types as the first."""
    index, value, target = example
    where = f"example {index} of {split.name}"
    row = leaves(value, "input", where=where) | leaves(target, "target", where=where)
    spec = {key: f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}" for key, tensor in row.items()}
    split.spec = split.spec or spec
    for key in dict.fromkeys((*split.spec, *spec)):
        if spec.get(key) != split.spec.get(key):
            raise InputError(
                f"data: {where} has {key} {spec.get(key, 'missing')}, the first has {split.spec.get(key, 'none')}.",
                "Give every example the same shape and type: resize, pad or cut in the dataset.",
            )
    return row


def _same_spec(train: Split, other: Split) -> None:
    for key, expected in train.spec.items():
        found = other.spec.get(key, "missing")
        if found != expected and not (other.name == "production" and key.startswith("target")):
            raise InputError(
                f"data: {key} of {other.name} is {found}, of train {expected}.",
                "Give every split the same shapes and types.",
            )


def _finite(stacked: dict[str, Tensor], batch: list[Example], name: str) -> None:
    for key, values in stacked.items():
        bad = ~values.isfinite().reshape(len(values), -1).all(dim=1)
        if bad.any():
            row = int(bad.nonzero()[0])
            value = values[row].flatten()[~values[row].flatten().isfinite()][0].item()
            raise InputError(
                f"data: example {batch[row][0]} of {name} has {value} in its {key}.",
                "Leave such examples out, or fill in what is missing.",
            )


def _digest(row: dict[str, Tensor], *, targets: bool) -> bytes:
    digest = hashlib.sha256()
    for key, tensor in row.items():
        if key.startswith("target") == targets:
            digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _batches(source: Iterable[Example]) -> Iterator[list[Example]]:
    iterator = iter(source)
    while batch := list(islice(iterator, BATCH)):
        yield batch
