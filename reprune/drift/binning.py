"""What a reference fixes for every window that is compared with it: columns, bins, categories, units."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reprune.config.drift import Group
from reprune.drift import histogram_bins
from reprune.drift.columns import Categories, Values, group_of
from reprune.errors import InputError

BINS = 128
"""Bins of a continuous column, about as many rows of the reference in each."""

DISTINCT = 64
"""Most distinct values for which each has a bin of its own."""

NAMES = 255
"""Most categories that are told apart; rarer ones count together with new ones."""

NORMAL_QUARTILES = 1.349
"""Distance of a normal distribution's quartiles in standard deviations."""


@dataclass(frozen=True)
class Field:
    """One column as the reference knows it.

    Attributes:
        name: Of the column.
        group: What it is part of.
        centre: Median of a column of numbers: centre of its lattice (see `cells`).
        scale: Its spread, as a standard deviation; the unit of its moments.
        starts: Rank of the first cell of each bin; empty for categories.
        categories: Names that are told apart, ascending; empty for numbers.
    """

    name: str
    group: Group
    centre: float = 0.0
    scale: float = 1.0
    starts: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def categorical(self) -> bool:
        """Whether its values are categories and not amounts."""
        return not self.starts

    @property
    def bins(self) -> int:
        """How many counts it has: its bins, or its categories and one for all others; then one for missing values."""
        return (len(self.categories) + 1 if self.categorical else len(self.starts)) + 1

    @cached_property
    def boundaries(self) -> NDArray[np.float64]:
        """Where its bins begin, ``[bins - 1]``, the first at minus infinity."""
        return histogram_bins.boundary(np.array(self.starts), self.centre)


@dataclass(frozen=True)
class Frame:
    """All columns of a reference.

    Attributes:
        fields: In the reference's order.
    """

    fields: tuple[Field, ...]

    def describe(self) -> list[dict[str, Any]]:
        """Return the frame as JSON."""
        return [asdict(field) for field in self.fields]

    @classmethod
    def parse(cls, described: list[dict[str, Any]]) -> Self:
        """Return the frame that `describe` described."""
        return cls(
            tuple(
                Field(**field | {"starts": tuple(field["starts"]), "categories": tuple(field["categories"])})
                for field in described
            )
        )

    @classmethod
    def of(cls, rows: Mapping[str, Values], groups: Mapping[str, Group] | None = None) -> Self:
        """Return the frame that rows of the reference suggest.

        Args:
            rows: Columns by name, ``[N]`` each.
            groups: What each is part of; by default what its name says.

        Raises:
            InputError: There are no rows.
        """
        if not rows or not len(next(iter(rows.values()))):
            raise InputError("The reference has no rows.", "Give one with at least the examples that a test needs.")
        return cls(tuple(_field(name, values, (groups or {}).get(name)) for name, values in rows.items()))

    def only(self, names: tuple[str, ...]) -> "Frame":
        """Return the frame of some of the columns."""
        return replace(self, fields=tuple(field for field in self.fields if field.name in names))


def _field(name: str, values: Values, group: Group | None) -> Field:
    group = group or group_of(name)
    if isinstance(values, Categories):
        counts = np.bincount(values.codes[values.codes >= 0], minlength=len(values.names))
        most = np.argsort(-counts, kind="stable")[:NAMES]
        return Field(
            name, group, categories=tuple(sorted(values.names[i] for i in most if counts[i] or group == "quality"))
        )
    known = values[np.isfinite(values)]
    if not len(known):
        return Field(name, group, starts=(0,))
    quartiles = np.quantile(known, (0.25, 0.5, 0.75), method="inverted_cdf")
    centre = float(quartiles[1])
    return Field(name, group, centre, _scale(known, quartiles), _starts(histogram_bins.place(known, centre)))


def _scale(known: NDArray[np.float64], quartiles: NDArray[np.float64]) -> float:
    """Return a spread that a few outliers do not move, unless most values are the same."""
    with np.errstate(over="ignore"):
        between, spread = float(quartiles[2] - quartiles[0]) / NORMAL_QUARTILES, float(known.std())
    return next((scale for scale in (between, spread) if 0 < scale < np.inf), 1.0)


def _starts(placed: NDArray[np.uint16]) -> tuple[int, ...]:
    """Return bins of one value each where there are few, else of equal shares; values unseen have bins too."""
    placed = np.sort(placed).astype(np.int64)
    distinct = np.unique(placed)
    if len(distinct) <= DISTINCT:
        starts = np.concatenate([distinct, distinct + 1])
    else:
        last = np.ceil(np.arange(1, BINS) * len(placed) / BINS).astype(np.int64) - 1
        starts = np.concatenate([placed[:1], placed[last] + 1, placed[-1:] + 1])
    return tuple(int(start) for start in np.unique([0, *starts]) if start < histogram_bins.CELLS)
