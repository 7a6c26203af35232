"""A window in bounded memory: counts, moments and a sample of rows, that merge exactly.

However rows are dealt to chunks, files and machines, the merged summary is the same to the last bit: counts and
moments are whole numbers, and the sample is that of the rows with the smallest priorities, where a row's priority is a
hash of its file's name and its place in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from reprune.drift import histogram_bins
from reprune.drift.binning import Field, Frame
from reprune.drift.columns import Categories, Chunk, Values, stacked
from reprune.errors import InputError

LIMIT = 2000
"""Most rows that a summary keeps."""

FRAME_ROWS = 1 << 14
"""Most rows of a reference that its frame is made from."""

NOVEL = 5
"""Most new categories that a summary remembers by name."""

STEPS = 256.0
"""Parts of a column's scale to which values are rounded for its moments."""

LARGEST = float(1 << 15)
"""Moments count what lies further than 128 scales from the centre as that far, so one outlier does not drown them."""


@dataclass(frozen=True)
class Summary:
    """Rows, summarised column by column.

    Attributes:
        frame: Columns, bins and units, from the reference.
        rows: How many there were.
        counts: For each field ``[bins]``: rows in each bin or category, the last those without a value.
        sums: ``[fields, 2]``: sum and sum of squares of the rounded values; zeros for categories.
        extremes: ``[fields, 2]``: least and greatest value; NaN where there is none.
        novel: For each field some of the categories that the frame does not tell apart, the first in the alphabet.
        priorities: ``[k]``, ascending, k at most 2,000.
        sample: ``[k, fields]``: values of the sampled rows, or places of categories; NaN where missing.
    """

    frame: Frame
    rows: int
    counts: tuple[NDArray[np.int64], ...]
    sums: NDArray[np.int64]
    extremes: NDArray[np.float64]
    novel: tuple[tuple[str, ...], ...]
    priorities: NDArray[np.uint64]
    sample: NDArray[np.float64]

    @property
    def complete(self) -> bool:
        """Whether the sample holds every row."""
        return self.rows == len(self.priorities)

    def only(self, names: Sequence[str]) -> "Summary":
        """Return the summary of some of the columns."""
        kept = [i for i, field in enumerate(self.frame.fields) if field.name in names]
        return Summary(
            self.frame.only(tuple(names)),
            self.rows,
            tuple(self.counts[i] for i in kept),
            self.sums[kept],
            self.extremes[kept],
            tuple(self.novel[i] for i in kept),
            self.priorities,
            self.sample[:, kept],
        )


def summarize(chunks: Iterable[Chunk], frame: Frame) -> Summary:
    """Return the summary of rows read chunk by chunk; memory does not grow with their number.

    Args:
        chunks: Each with every column of the frame.
        frame: The reference's.
    """
    return reduce(merge, (_of_chunk(chunk, frame) for chunk in chunks), empty(frame))


def merge(one: Summary, other: Summary) -> Summary:
    """Return the summary of the rows of both.

    Raises:
        InputError: They are of different frames, or have rows in common.
    """
    if one.frame != other.frame:
        raise InputError(
            "Summaries made for different references, or of different columns, cannot be merged.",
            "Summarise every part for the same reference, and give every part the same columns.",
        )
    priorities = np.concatenate([one.priorities, other.priorities])
    order = np.argsort(priorities, kind="stable")[:LIMIT]
    priorities = priorities[order]
    if (priorities[1:] == priorities[:-1]).any():
        raise InputError("The same rows are summarised twice.", "Name every file of a window once.")
    return Summary(
        frame=one.frame,
        rows=one.rows + other.rows,
        counts=tuple(a + b for a, b in zip(one.counts, other.counts, strict=True)),
        sums=one.sums + other.sums,
        extremes=np.stack(
            [
                np.fmin(one.extremes[:, 0], other.extremes[:, 0]),
                np.fmax(one.extremes[:, 1], other.extremes[:, 1]),
            ],
            axis=1,
        ),
        novel=tuple(tuple(sorted({*a, *b})[:NOVEL]) for a, b in zip(one.novel, other.novel, strict=True)),
        priorities=priorities,
        sample=np.concatenate([one.sample, other.sample])[order],
    )


def empty(frame: Frame) -> Summary:
    """Return the summary of no rows."""
    fields = frame.fields
    return Summary(
        frame=frame,
        rows=0,
        counts=tuple(np.zeros(field.bins, dtype=np.int64) for field in fields),
        sums=np.zeros((len(fields), 2), dtype=np.int64),
        extremes=np.full((len(fields), 2), np.nan),
        novel=((),) * len(fields),
        priorities=np.zeros(0, dtype=np.uint64),
        sample=np.zeros((0, len(fields))),
    )


def framed(chunks: Iterable[Chunk]) -> Frame:
    """Return the frame of a reference, from a bounded sample of its rows.

    Raises:
        InputError: There are no rows.
    """
    priorities, rows = np.zeros(0, dtype=np.uint64), dict[str, Values]()
    for chunk in chunks:
        drawn = _lowest(_priorities(chunk), FRAME_ROWS, below=_bar(priorities, FRAME_ROWS))
        ahead = {name: _take(values, drawn) for name, values in chunk.columns.items()}
        rows = {name: stacked([rows[name], values]) if rows else values for name, values in ahead.items()}
        priorities = np.concatenate([priorities, _priorities(chunk)[drawn]])
        kept = _lowest(priorities, FRAME_ROWS)
        priorities, rows = priorities[kept], {name: _take(values, kept) for name, values in rows.items()}
    return Frame.of(rows)


def _of_chunk(chunk: Chunk, frame: Frame) -> Summary:
    parts = [_of_column(field, chunk.columns[field.name]) for field in frame.fields]
    priorities = _priorities(chunk)
    drawn = _lowest(priorities, LIMIT)
    return Summary(
        frame=frame,
        rows=len(chunk),
        counts=tuple(part[0] for part in parts),
        sums=np.array([part[1] for part in parts], dtype=np.int64).reshape(-1, 2),
        extremes=np.array([part[2] for part in parts], dtype=np.float64).reshape(-1, 2),
        novel=tuple(part[3] for part in parts),
        priorities=priorities[drawn],
        sample=np.stack([_coded(field, _take(chunk.columns[field.name], drawn)) for field in frame.fields], axis=1),
    )


Part = tuple[NDArray[np.int64], tuple[int, int], tuple[float, float], tuple[str, ...]]


def _of_column(field: Field, values: Values) -> Part:
    if isinstance(values, Categories):
        places = _places(field, values.names)
        found = np.bincount(values.codes + 1, minlength=len(values.names) + 1)
        counts = np.bincount([*places, field.bins - 1], weights=[*found[1:], found[0]], minlength=field.bins)
        seen = [name for name, n in zip(values.names, found[1:], strict=True) if n]
        new = tuple(sorted(set(seen).difference(field.categories))[:NOVEL])
        return counts.astype(np.int64), (0, 0), (np.nan, np.nan), new
    missing = np.isnan(values)
    known = values[~missing] if missing.any() else values
    counts = np.append(histogram_bins.count(known, field.centre, np.array(field.starts)), len(values) - len(known))
    if not len(known):
        return counts, (0, 0), (np.nan, np.nan), ()
    with np.errstate(over="ignore"):
        steps = np.rint(np.clip((known - field.centre) * (STEPS / field.scale), -LARGEST, LARGEST))
    # Whole numbers, and few enough that a float holds their sums exactly. Adding 0.0 makes -0.0 the same zero.
    return counts, (int(steps.sum()), int(steps @ steps)), (float(known.min()) + 0.0, float(known.max()) + 0.0), ()


def _coded(field: Field, values: Values) -> NDArray[np.float64]:
    if not isinstance(values, Categories):
        return values
    return np.array([*_places(field, values.names), np.nan])[values.codes]


def _places(field: Field, names: Sequence[str]) -> list[int]:
    places = {name: place for place, name in enumerate(field.categories)}
    return [places.get(name, len(places)) for name in names]


def _take(values: Values, rows: NDArray[np.int64]) -> Values:
    return values.take(rows) if isinstance(values, Categories) else values[rows]


def _priorities(chunk: Chunk) -> NDArray[np.uint64]:
    """Return a hash of each row's source and place (SplitMix64: Steele et al., 2014, OOPSLA)."""
    seed = np.uint64(int.from_bytes(sha256(chunk.source.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        z = (np.arange(chunk.start, chunk.start + len(chunk), dtype=np.uint64) + seed) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def _bar(priorities: NDArray[np.uint64], limit: int) -> np.uint64 | None:
    return priorities[-1] if len(priorities) >= limit else None


def _lowest(priorities: NDArray[np.uint64], limit: int, *, below: np.uint64 | None = None) -> NDArray[np.int64]:
    """Return where the smallest priorities are, ascending."""
    if below is not None:
        eligible = np.flatnonzero(priorities < below)
    elif len(priorities) > limit:
        eligible = np.argpartition(priorities, limit)[:limit]
    else:
        eligible = np.arange(len(priorities))
    return eligible[np.argsort(priorities[eligible], kind="stable")][:limit]
