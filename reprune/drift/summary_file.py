"""Summaries on disk: one safetensors file, numbers as arrays and names as JSON; equal summaries give equal bytes."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from reprune.drift.binning import Frame
from reprune.drift.window_summary import Summary
from reprune.errors import InputError

FORMAT = 1
KEY = "summary"
"""What the file's metadata hold of a summary."""

ARRAYS = ("counts", "sums", "extremes", "priorities", "sample")


def save(summary: Summary, path: Path) -> None:
    """Write a summary."""
    described = {
        "format": FORMAT,
        "rows": summary.rows,
        "frame": summary.frame.describe(),
        "novel": summary.novel,
    }
    arrays = {
        "counts": np.concatenate([*summary.counts, np.zeros(0, dtype=np.int64)]),
        "sums": summary.sums,
        "extremes": summary.extremes,
        "priorities": summary.priorities,
        "sample": np.ascontiguousarray(summary.sample),
    }
    save_file(arrays, path, metadata={KEY: json.dumps(described)})


def is_summary(path: Path) -> bool:
    """Return whether a file is a summary, going by what it says of itself."""
    try:
        with safe_open(path, framework="numpy") as file:
            return KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def load(path: Path) -> Summary:
    """Read a summary.

    Raises:
        InputError: The file is missing, cut short, or not a summary that this version reads.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            described = json.loads((file.metadata() or {})[KEY])
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
        if described["format"] != FORMAT:
            raise ValueError(f"format {described['format']!r}, not {FORMAT}")
        frame = Frame.parse(described["frame"])
        ends = np.cumsum([field.bins for field in frame.fields])
        if arrays["counts"].shape != (ends[-1],) or arrays["sample"].shape != (
            len(arrays["priorities"]),
            len(frame.fields),
        ):
            raise ValueError("its arrays are not of the columns that it describes")
        return Summary(
            frame=frame,
            rows=int(described["rows"]),
            counts=tuple(np.split(arrays["counts"], ends[:-1])),
            sums=arrays["sums"],
            extremes=arrays["extremes"],
            novel=tuple(tuple(names) for names in described["novel"]),
            priorities=arrays["priorities"],
            sample=arrays["sample"],
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} is no summary that can be read: {error}.", "Write it anew with `reprune reference`."
        ) from None
