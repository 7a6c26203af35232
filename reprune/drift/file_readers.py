"""Files of rows, read a bounded number of rows at a time: Parquet, CSV, NPZ."""

import re
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.lib import format as npy
from numpy.typing import NDArray

from reprune.drift import declared_size
from reprune.drift.columns import CLASSES, group_of
from reprune.errors import InputError, first_line

SUFFIXES = (".parquet", ".csv", ".npz")
ROWS = 1 << 16
"""Rows read at a time."""

BUFFER = 1 << 20
"""Bytes of a column read ahead."""

VALUES = 1 << 22
"""Most values of an array read at a time."""

MISSING = ("", "NA", "NaN", "nan", "null", "None")
"""What a CSV file writes where a value is missing."""

TWICE = "two columns have the same name"

_PLACE = re.compile(r"In CSV column #([0-9]+): ")

Column: TypeAlias = "pa.Array | NDArray[np.generic]"
"""One value a row, or an array ``[N, ...]``."""

Batch = dict[str, Column]


def batches(
    path: Path, numbers: Mapping[str, bool], *, skip: Collection[str], most_bytes: int = declared_size.MOST_BYTES
) -> Iterator[Batch]:
    """Yield a file's rows.

    Args:
        path: The file.
        numbers: For columns that are known, whether they hold numbers (or else categories).
        skip: Columns that are not read.
        most_bytes: Most bytes that its columns may declare to take once they are unpacked.

    Raises:
        InputError: The file is not there, cut short, not what its name says, or declares more than it can hold.
    """
    readers = {".parquet": _parquet, ".csv": _csv, ".npz": _npz}
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is no regular file.", "Write it as a file: pipes and devices are not read.")
        declared_size.check_size(path, status.st_size, most_bytes)
        yield from readers[path.suffix](path, numbers, skip, most_bytes)
    except (pa.ArrowException, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as {path.suffix[1:].upper()}: {first_line(error)}",
            "Write the file whole, with one type a column; it may have been cut short.",
        ) from None


def _parquet(path: Path, numbers: Mapping[str, bool], skip: Collection[str], most_bytes: int) -> Iterator[Batch]:
    with pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:  # else all of it is held at once
        declared_size.check_parquet(path, file.metadata, skip, most_bytes)
        names = [name for name in file.schema_arrow.names if name not in skip]
        rows = 0
        for batch in file.iter_batches(ROWS, columns=names, use_threads=False):
            rows += len(batch)
            if len(batch):
                yield _split(batch)
        if rows != file.metadata.num_rows:
            raise ValueError(f"it declares {file.metadata.num_rows:,} rows, and holds {rows:,}")


def _csv(path: Path, numbers: Mapping[str, bool], skip: Collection[str], most_bytes: int) -> Iterator[Batch]:
    with pa.csv.open_csv(path) as first:  # guesses types from the first block, which later rows may belie
        header = first.schema.names
        if len(set(header)) < len(header):
            raise ValueError(TWICE)
        guessed = {field.name: _guess(field) for field in first.schema if field.name not in skip}
    types = guessed | {name: pa.float64() if number else pa.string() for name, number in numbers.items()}
    convert = pa.csv.ConvertOptions(
        column_types=types, include_columns=list(guessed), strings_can_be_null=True, null_values=MISSING
    )
    try:
        with pa.csv.open_csv(path, convert_options=convert) as file:
            for batch in file:
                if len(batch):
                    yield _split(batch)
    except pa.ArrowInvalid as error:  # says which column by its place
        raise ValueError(_PLACE.sub(lambda found: f"column {header[int(found[1])]!r}: ", str(error))) from None


def _guess(field: pa.Field) -> pa.DataType:
    if not pa.types.is_integer(field.type):
        return field.type
    return pa.string() if group_of(field.name) in CLASSES else pa.float64()


def _npz(path: Path, numbers: Mapping[str, bool], skip: Collection[str], most_bytes: int) -> Iterator[Batch]:
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        entries = [entry for entry in archive.infolist() if entry.filename.removesuffix(".npy") not in skip]
        declared_size.check_archive(path, entries, most_bytes)
        arrays = {
            entry.filename.removesuffix(".npy"): _Array(stack.enter_context(archive.open(entry)), entry.file_size)
            for entry in entries
        }
        lengths = {name: array.rows for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"{path}: its arrays differ in length: {lengths}.", "Write as many rows of each.")
        widest = max((array.width for array in arrays.values()), default=1)
        step = max(min(ROWS, VALUES // max(widest, 1)), 1)
        for start in range(0, max(lengths.values(), default=0), step):
            yield {name: array.read(min(step, array.rows - start)) for name, array in arrays.items()}


class _Array:
    """An array in an archive, read from its first row to its last.

    Args:
        file: The array with its header.
        size: Bytes that the archive holds of it, header included.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, self._dtype = header(file)
        if self._dtype.hasobject or not shape or (fortran and len(shape) > 1):
            raise ValueError("arrays of objects, of no rows, or in Fortran order are not read")
        self._file, self.rows, self._shape = file, shape[0], shape[1:]
        self.width = prod(self._shape)
        declared_size.check_array(shape, self._dtype, size - file.tell())

    def read(self, rows: int) -> Column:
        size = rows * self.width * self._dtype.itemsize
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the file ends before its rows do")
        values = np.frombuffer(data, dtype=self._dtype).reshape(rows, *self._shape)
        return pa.array(values) if values.ndim == 1 else values


def _split(batch: pa.RecordBatch) -> Batch:
    if len(set(batch.schema.names)) < len(batch.schema.names):
        raise ValueError(TWICE)
    columns: Batch = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        kind = column.type
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        columns[name] = _matrix(name, column) if listed else column
    return columns


def _matrix(name: str, column: pa.Array) -> NDArray[np.generic]:
    lengths, values = pc.unique(pc.list_value_length(column)), column.flatten().to_numpy(zero_copy_only=False)
    if len(lengths) != 1 or column.null_count or not np.issubdtype(values.dtype, np.number):
        raise ValueError(f"the lists of {name!r} differ in length, or hold no numbers")
    return np.asarray(values.reshape(len(column), -1))
