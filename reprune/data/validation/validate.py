"""The whole of validation: what cannot work is refused, what looks wrong is reported."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from reprune import hashing
from reprune.config.workload import Workload
from reprune.data.datasets import Data
from reprune.data.validation.examples import leaves
from reprune.data.validation.preflight import Split, preflight, read
from reprune.data.validation.result import Validation

LEARNT_FROM = ("train", "validation", "test")
ASKED_TWICE = 4
"""Examples that are asked for twice, to see whether they are distorted at random."""


def validate(workload: Workload) -> Validation:
    """Check that the workload's model and data belong together, and that the data is fit to learn from.

    Args:
        workload: Names model, data and task; its code must be importable (`entrypoints.use_code`).

    Raises:
        InputError: Something cannot work at all; see `preflight`. Failed critical expectations raise only in
            `Validation.require`, so that the page can be written first.
    """
    splits = preflight(workload)
    from reprune.data.validation import (
        great_expectations_runner,  # seconds to import: not before the data is known to be usable at all
    )
    from reprune.data.validation.expectations import suites

    leaks = tuple(_leaks(splits))
    frames = {name: _frame(split) for name, split in splits.items()}
    expected = suites(
        frames, _reference(workload, frames), {str(split): it for split, it in workload.expectations.items()}
    )
    findings = great_expectations_runner.run(frames, expected, title=f"Data of {workload.name}", notes=leaks)
    return Validation(
        examples={name: split.total for name, split in splits.items()},
        inspected={name: len(split.indices) for name, split in splits.items()},
        classes=_classes(frames["train"]),
        expectations=findings.run,
        failures=findings.failures,
        leaks=leaks,
        data_digest=hashing.of_json([splits[name].digest for name in LEARNT_FROM]),
        html=findings.html,
    )


def inferred(workload: Workload) -> dict[str, list[dict[str, Any]]]:
    """Return the suites that would be inferred for a workload's splits, to be edited and given back as its own.

    Raises:
        InputError: Model and data cannot work together; see `preflight`.
    """
    frames = {name: _frame(split) for name, split in preflight(workload).items()}
    from reprune.data.validation.expectations import suites, written

    return {name: written(suite) for name, suite in suites(frames, _reference(workload, frames), {}).items()}


def frame(dataset: Any) -> pd.DataFrame:
    """Return a dataset of ``(input, target)`` as a table of at most 10,000 evenly spaced examples.

    Raises:
        InputError: It cannot be read, or holds examples of different shapes or values that are not finite.
    """
    return _frame(read(dataset))


def _frame(split: Split) -> pd.DataFrame:
    return pd.DataFrame(split.table, index=split.indices)


def _reference(workload: Workload, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what other splits are held against: train, or where it is distorted at random, what was held out."""
    if not _is_random(Data(workload).split("train")):
        return frames["train"]
    return pd.concat([frames["validation"], frames["test"]], ignore_index=True)


def _is_random(dataset: Any) -> bool:
    """Return whether a dataset gives other inputs each time, as augmentation does."""
    if not hasattr(dataset, "__getitem__"):
        return False

    def asked(index: int) -> dict[str, Tensor]:
        return leaves(dataset[index][0], "input", where=f"example {index} of train")

    return any(
        not torch.equal(asked(index)[key], first)
        for index in range(min(len(dataset), ASKED_TWICE))
        for key, first in asked(index).items()
    )


def _leaks(splits: dict[str, Split]) -> Iterator[str]:
    """Tell of inputs that are judged on and were learnt from."""
    learnt = set(splits["train"].inputs)
    for name in ("validation", "test"):
        inputs = splits[name].inputs
        shared = [index for index, key in zip(splits[name].indices, inputs, strict=True) if key in learnt]
        if shared:
            yield (
                f"{len(shared):,} of {len(inputs):,} inputs of {name} are in train too, which flatters its accuracy "
                f"(the first: example {shared[0]})"
            )


def _classes(train: pd.DataFrame) -> int | None:
    if "target" not in train or train["target"].dtype.kind not in "iu":
        return None
    return int(train["target"].nunique())
