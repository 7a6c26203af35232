"""Rows of a window on their way into a summary: columns of numbers, and of categories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprune.config.drift import Group
from reprune.errors import InputError

GROUPS: dict[Group, tuple[str, ...]] = {
    "labels": ("label",),
    "quality": ("correct",),
    "predictions": ("prediction", "predicted_class", "confidence", "score"),
    "embeddings": ("embedding",),
}
"""Names of columns that are not inputs, alone or before a dot, a bracket or an underscore and a number."""

CLASSES: tuple[Group, ...] = ("labels", "predictions")
"""Groups in which whole numbers are classes."""

UNWATCHED = ("id", "timestamp", "model_version")
"""Columns of a prediction log that say where a row comes from."""


@dataclass(frozen=True)
class Categories:
    """A column of categories.

    Attributes:
        codes: Place of each row's category in ``names``, ``[N]``; -1 where it is missing.
        names: Each once.
    """

    codes: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.int64]) -> "Categories":
        """Return some of the rows."""
        return Categories(self.codes[rows], self.names)

    @classmethod
    def of(cls, values: Sequence[str | None]) -> "Categories":
        """Return a column of names; None is missing."""
        names = tuple(sorted({value for value in values if value is not None}))
        places = {name: code for code, name in enumerate(names)}
        return cls(np.array([-1 if v is None else places[v] for v in values], dtype=np.int64), names)


Values = NDArray[np.float64] | Categories
"""A column, ``[N]``: numbers, NaN where one is missing, or categories."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one file.

    Attributes:
        columns: By name, all of the same length.
        source: What names the file, the same whenever it is read.
        start: Place of the first row in it.
    """

    columns: Mapping[str, Values]
    source: str
    start: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


def group_of(name: str) -> Group:
    """Return what a column is part of, by its name: ``embedding[3]`` is of the embeddings, what is unknown an input."""
    stem = name.split("[")[0].split(".")[0].rstrip("0123456789").rstrip("_")
    return next((group for group, names in GROUPS.items() if stem in names), "inputs")


def agreement(said: Values, truth: Values) -> Categories:
    """Return whether two columns of categories agree; missing where either is.

    Raises:
        InputError: One of them holds amounts.
    """
    if not isinstance(said, Categories) or not isinstance(truth, Categories):
        raise InputError("predicted_class or label holds fractions.", "Write both as whole numbers, or as text.")
    names = {name: place for place, name in enumerate(said.names)}
    translated = np.array([*(names.get(name, -2) for name in truth.names), -1])[truth.codes]
    codes = np.where((said.codes < 0) | (translated == -1), -1, said.codes == translated)
    return Categories(codes.astype(np.int64), ("no", "yes"))


def stacked(parts: Sequence[Values]) -> Values:
    """Return the rows of several parts of one column."""
    if all(isinstance(part, Categories) for part in parts):
        names = tuple(sorted({name for part in parts for name in part.names}))  # type: ignore[union-attr]
        places = {name: code for code, name in enumerate(names)}
        return Categories(
            np.concatenate([_recoded(part, places) for part in parts]),  # type: ignore[arg-type]
            names,
        )
    return np.concatenate(parts)  # type: ignore[arg-type]


def _recoded(part: Categories, places: Mapping[str, int]) -> NDArray[np.int64]:
    codes = np.array([*(places[name] for name in part.names), -1], dtype=np.int64)
    return codes[part.codes]
