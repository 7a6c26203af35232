"""A fixed lattice of cells on the number line: what makes histograms cheap to count, and exact to merge.

A number's cell is the upper half of the bits of its float32 distance from a centre: sign, exponent and seven bits of
mantissa. So cells are fine near the centre and 1/128 of the distance wide far from it, cover every magnitude, and a
million numbers are placed in a few milliseconds, without comparing them with edges one by one.
"""

import numpy as np
from numpy.typing import NDArray

CELLS = 1 << 16
_CODES = np.arange(CELLS, dtype=np.uint16)
_RANK = np.where(_CODES & 0x8000, ~_CODES, _CODES | 0x8000)
_CODE_AT = np.argsort(_RANK).astype(np.uint16)


def place(values: NDArray[np.float64], centre: float) -> NDArray[np.uint16]:
    """Return the rank of each value's cell, from the lowest cell to the highest, ``[N]``; no value may be NaN."""
    return np.asarray(_RANK[_codes(values, centre)], dtype=np.uint16)


def count(values: NDArray[np.float64], centre: float, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many values fall in each bin, ``[len(starts)]``; no value may be NaN.

    Args:
        values: ``[N]``.
        centre: Of the lattice.
        starts: Rank of the first cell of each bin, ascending; the first is 0.
    """
    by_code = np.bincount(_codes(values, centre), minlength=CELLS)
    return np.asarray(np.add.reduceat(by_code[_CODE_AT], starts), dtype=np.int64)


def boundary(ranks: NDArray[np.int64], centre: float) -> NDArray[np.float64]:
    """Return the numbers at which cells begin, ``[len(ranks)]``; infinite at the ends of the line."""
    codes = _CODE_AT[np.clip(ranks, 0, CELLS - 1)].astype(np.uint32)
    negative = (codes & 0x8000) != 0
    magnitude = np.where(negative, (codes & 0x7FFF) + 1, codes)
    magnitude = np.minimum(magnitude, 0x7F80)  # infinity; above it lie only codes of NaN
    distance = (magnitude.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return centre + np.where(negative, -distance, distance)


def _codes(values: NDArray[np.float64], centre: float) -> NDArray[np.uint16]:
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, which has a cell
        distance = np.ascontiguousarray((values - centre).astype("<f4"))
    return distance.view("<u2")[1::2]
