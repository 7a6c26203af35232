"""What a file declares of its own size, checked before any of it is read: a few bytes can declare work without end."""

import zipfile
from collections.abc import Collection, Sequence
from math import prod
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from reprune.errors import InputError

MOST_BYTES = 1 << 40
"""Most bytes that the columns of one file may take once they are unpacked."""

MOST_ROWS = 1 << 32
"""Most rows of one file."""

MOST_ROW_BYTES = 1 << 30
"""Most bytes of one row of an array."""

DEFLATED = 1032
"""Most bytes that one byte of a deflated stream can stand for (258 for every 2 bits)."""

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a value by its physical type in Parquet; those of other types count as one byte."""


def check_size(path: Path, size: int, most_bytes: int) -> None:
    """Check the bytes that a file takes, or declares to take once it is unpacked.

    Raises:
        InputError: They are more than are allowed.
    """
    if size > most_bytes:
        raise InputError(
            f"{path} declares {size:,} bytes, and at most {most_bytes:,} are read from one file.",
            "Write the rows in several files.",
        )


def check_parquet(path: Path, found: pq.FileMetaData, skip: Collection[str], most_bytes: int) -> None:
    """Check what the footer of a Parquet file declares.

    Args:
        path: The file.
        found: Its footer.
        skip: Columns that are not read.
        most_bytes: Most bytes that the others may declare to take.

    Raises:
        InputError: They declare too much.
        ValueError: There are no columns, or the footer contradicts itself.
    """
    groups = [found.row_group(i) for i in range(found.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    read = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] not in skip]
    if found.num_rows and not read:
        raise ValueError(f"it declares {found.num_rows:,} rows, and has no columns to read")
    counts = [found.num_rows, *(group.num_rows for group in groups), *(chunk.num_values for chunk in read)]
    if min(counts) < 0 or sum(group.num_rows for group in groups) != found.num_rows:
        raise ValueError(f"it declares {found.num_rows:,} rows, and its row groups declare others")
    _check_rows(path, found.num_rows)
    check_size(path, sum(chunk.num_values * _WIDTHS.get(chunk.physical_type, 1) for chunk in read), most_bytes)
    check_size(path, sum(max(chunk.total_uncompressed_size, 0) for chunk in read), most_bytes)


def check_archive(path: Path, entries: Sequence[zipfile.ZipInfo], most_bytes: int) -> None:
    """Check what the directory of a zip archive declares.

    Raises:
        InputError: It declares too much.
        ValueError: It declares more than its bytes can hold.
    """
    if sum(entry.compress_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries overlap: together they declare more packed bytes than the file has")
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename} is packed by a method that NumPy does not write")
        times = DEFLATED if entry.compress_type == zipfile.ZIP_DEFLATED else 1
        if entry.file_size > times * entry.compress_size:
            raise ValueError(
                f"{entry.filename} declares {entry.file_size:,} bytes, more than its {entry.compress_size:,} packed "
                f"bytes can hold"
            )
    check_size(path, sum(entry.file_size for entry in entries), most_bytes)


def check_array(shape: Sequence[int], dtype: np.dtype, held: int) -> None:
    """Check what the header of an array declares.

    Args:
        shape: ``[N, ...]``.
        dtype: Of its values.
        held: Bytes that follow the header.

    Raises:
        ValueError: It declares rows that take no bytes, more than follow, or rows that are too large.
    """
    row = prod(shape[1:]) * dtype.itemsize
    described = f"an array of shape {list(shape)} and type {dtype}"
    if min(shape) < 0 or (shape[0] and not row):
        raise ValueError(f"{described} has rows without any values")
    if shape[0] * row > held:
        raise ValueError(f"{described} takes {shape[0] * row:,} bytes, and the file holds {max(held, 0):,} of it")
    if row > MOST_ROW_BYTES:
        raise ValueError(f"{described} has rows of {row:,} bytes, and at most {MOST_ROW_BYTES:,} are read")


def _check_rows(path: Path, rows: int) -> None:
    if rows > MOST_ROWS:
        raise InputError(
            f"{path} declares {rows:,} rows, and at most {MOST_ROWS:,} are read from one file.",
            "Write the rows in several files.",
        )
