"""Windows of production data where they lie: files, read chunk by chunk as columns.

A window is one file (Parquet, CSV or NPZ), or a folder of them: one row a prediction, in any order.

======================  ===============================================================================================
column                  what it is
======================  ===============================================================================================
``id``                  names the prediction; needed only where labels come later
``timestamp``,          not watched
``model_version``
``embedding``           of the model's penultimate layer: a list of numbers (or ``embedding[0]``, ``embedding[1]``, ...)
``prediction``,         what the model said; whole numbers under ``predicted_class`` are categories
``predicted_class``,
``confidence``,
``score``
``label``               the truth, where it is known
anything else           an input: a number, a category (text or a boolean), or a list of numbers
======================  ===============================================================================================

Labels that come later lie in the window's folder as ``labels*.parquet`` or ``labels*.csv``, with ``id`` and ``label``.
Where predicted class and label are both known, a column ``correct`` says whether they agree.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reprune.config.drift import LATE
from reprune.drift import declared_size, file_readers
from reprune.drift.binning import Frame
from reprune.drift.columns import CLASSES, UNWATCHED, Categories, Chunk, Values, agreement, group_of
from reprune.drift.features import input_columns
from reprune.drift.window_summary import Summary, framed, summarize
from reprune.errors import InputError
from reprune.storage.uri import fetch_file, open_store

LABELS = "labels"
"""How files of late labels begin."""

WHOLE = slice(None)
"""Every file of a window."""


@dataclass(frozen=True)
class Window:
    """Files that are summarised together.

    Attributes:
        name: Distinct for every window that is ever merged with another.
        root: Folder of the files.
        files: Rows of predictions.
        labels: Labels that came later.
    """

    name: str
    root: Path
    files: tuple[Path, ...]
    labels: tuple[Path, ...] = ()


def find(uri: str | Path, scratch: Path, *, name: str | None = None, part: slice = WHOLE) -> Window:
    """Return the files of a window, fetched where they are elsewhere.

    Args:
        uri: A file or a folder, here or on S3.
        scratch: Where what is fetched goes.
        name: Of the window; by default the URI.
        part: Which of the files of rows, in the order of their names; others are not fetched. There may be none in it.

    Raises:
        InputError: There is nothing, or nothing that can be read.
        StoreError: It cannot be fetched.
    """
    text = str(uri)
    if Path(text).suffix in file_readers.SUFFIXES:
        file = fetch_file(text, scratch)
        if file.is_file():
            return Window(name or text, file.parent, tuple([file][part]))
    store = open_store(text) if "://" in text else None
    root = scratch if store else Path(text)
    found = store.list() if store else (file.relative_to(root).as_posix() for file in root.rglob("*"))
    names = sorted(it for it in found if Path(it).suffix in file_readers.SUFFIXES)
    labels = [it for it in names if Path(it).name.startswith(LABELS)]
    files = sorted({*names}.difference(labels))
    if not files:
        raise _nothing(text, root)
    chosen = files[part]
    if store:
        for it in (*chosen, *labels):
            store.download(it, root / it)
    return Window(name or text, root, tuple(root / it for it in chosen), tuple(root / it for it in labels))


def _nothing(uri: str, root: Path) -> InputError:
    if root.is_file():
        return InputError(f"{uri} is of no format that windows come in.", "Give .parquet, .csv or .npz.")
    what = f"no file {' or '.join(file_readers.SUFFIXES)} in" if root.is_dir() or "://" in uri else "no file or folder"
    return InputError(f"There is {what} {uri}.", "Name a Parquet, CSV or NPZ file, or a folder of them.")


def read(window: Window, frame: Frame | None = None, *, ignore: Sequence[str] = ()) -> Iterator[Chunk]:
    """Yield a window's rows.

    Args:
        window: Its files.
        frame: The reference's, which says what is a number and what a category; by default the files' types do.
        ignore: Columns to pass over.

    Raises:
        InputError: A file is cut short or of no format; a column is missing or of another type than in the reference.
    """
    labels = labels_by_id(window.labels) if window.labels else None
    types = {field.name: not field.categorical for field in frame.fields} if frame else {}
    passed = {*ignore, *UNWATCHED} - ({"id"} if labels is not None else set())
    for path in window.files:
        start, source = 0, f"{window.name}/{path.relative_to(window.root).as_posix()}"
        for batch in file_readers.batches(path, types, skip=passed):
            columns = _columns(batch, types, path)
            if labels is not None:
                columns["label"] = Categories.of([labels.get(name or "") for name in ids_of(batch, path)])
            columns.pop("id", None)
            if {"label", "predicted_class"} <= columns.keys() and "correct" not in columns:
                columns["correct"] = agreement(columns["predicted_class"], columns["label"])
            chunk = Chunk(columns, source, start)
            yield chunk
            start += len(chunk)


@dataclass(frozen=True)
class Read:
    """A window, summarised.

    Attributes:
        summary: Of the columns that both it and the reference have.
        notes: What a person should know: columns that the reference does not have, labels that are not there.
    """

    summary: Summary
    notes: tuple[str, ...] = ()


def summarize_window(window: Window, frame: Frame, *, ignore: Sequence[str] = ()) -> Read:
    """Return a window's summary for a reference; one pass, in bounded memory.

    Raises:
        InputError: See `read`; or there are no rows at all.
    """
    chunks = read(window, frame, ignore=ignore)
    first = next(chunks, None)
    if first is None:
        raise InputError(f"{window.name} has no rows.", "Give a window with at least one prediction.")
    shared, notes = _shared(frame, first, window, ignore)
    return Read(summarize(_complete(first, chunks, shared, window), shared), notes)


def summarize_reference(window: Window, *, ignore: Sequence[str] = ()) -> Summary:
    """Return the summary of data that later windows are compared with; two passes, in bounded memory.

    Raises:
        InputError: See `read`; or there are no rows at all.
    """
    frame = framed(read(window, ignore=ignore))
    return summarize_window(window, frame, ignore=ignore).summary


def _shared(frame: Frame, first: Chunk, window: Window, ignore: Sequence[str]) -> tuple[Frame, tuple[str, ...]]:
    absent = [field for field in frame.fields if field.name not in first.columns and field.name not in ignore]
    needed = [field.name for field in absent if field.group not in LATE]
    if needed:
        raise InputError(
            f"{window.name} lacks {_listed(needed)}, which the reference has.",
            "Write the window with the reference's columns, or leave them out of the comparison (--ignore).",
        )
    known = {field.name for field in frame.fields}
    extra = [name for name in first.columns if name not in known and name != "correct"]
    notes = [f"not in the reference, so not compared: {_listed(extra)}"] if extra else []
    if absent:
        notes.append(f"not in the window, so not compared: {_listed([field.name for field in absent])}")
    shared = tuple(name for name in known if name in first.columns)
    if not shared:
        raise InputError(f"No column of {window.name} is left to compare.", "Leave fewer out (--ignore).")
    return frame.only(shared), tuple(notes)


def _complete(first: Chunk, rest: Iterator[Chunk], frame: Frame, window: Window) -> Iterator[Chunk]:
    yield first
    for chunk in rest:
        absent = [field.name for field in frame.fields if field.name not in chunk.columns]
        if absent:
            raise InputError(
                f"{chunk.source} lacks {_listed(absent)}, which other files of {window.name} have.",
                "Give every file of a window the same columns.",
            )
        yield chunk


def _columns(batch: Mapping[str, file_readers.Column], types: Mapping[str, bool], path: Path) -> dict[str, Values]:
    columns: dict[str, Values] = {}
    for name, column in batch.items():
        if isinstance(column, pa.Array):
            columns[name] = _values(name, column, types.get(name), path)
        else:
            found = input_columns(name, column)
            columns |= {key: values.astype(np.float64) for key, values in found.items()}
    return columns


def _values(name: str, column: pa.Array, number: bool | None, path: Path) -> Values:
    kind = column.type
    if pa.types.is_null(kind):
        empty = number is None or number
        return np.full(len(column), np.nan) if empty else Categories(np.full(len(column), -1), ())
    textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (textual or numeric or pa.types.is_boolean(kind)):
        raise InputError(f"{path.name}: {name!r} is of type {kind}.", "Leave it out of the comparison (--ignore).")
    if number is None:
        classes = pa.types.is_integer(kind) and group_of(name) in CLASSES
        number = numeric and not classes
    if number and numeric:
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if number:
        first = next((value for value in column.to_pylist() if value is not None), None)
        raise InputError(
            f"{path.name}: {name!r} holds text ({first!r}), where the reference has numbers.",
            "Write the column as the reference has it.",
        )
    return _categories(column if pa.types.is_dictionary(kind) else _named(column, numeric).dictionary_encode())


def _named(column: pa.Array, numeric: bool) -> pa.Array:
    """Return categories as text; 3 and 3.0 are the same one."""
    if numeric and pc.all(pc.equal(column, pc.trunc(column))).as_py() is not False:
        column = column.cast(pa.int64(), safe=False)
    return column.cast(pa.string())


def _categories(column: pa.DictionaryArray) -> Categories:
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    plain = [_plain(str(name)) for name in column.dictionary.to_pylist()]
    names = tuple(dict.fromkeys(plain))
    if len(names) == len(plain):
        return Categories(codes, names)
    places = {name: place for place, name in enumerate(names)}
    return Categories(np.array([*(places[name] for name in plain), -1])[codes], names)


def _plain(name: str) -> str:
    """Return a category as every format writes it: CSV alone tells True from true, and 3.0 from 3."""
    if name in ("True", "TRUE", "False", "FALSE"):
        return name.lower()
    whole, point, zeros = name.partition(".")
    return whole if point and not zeros.strip("0") and whole.removeprefix("-").isdecimal() else name


def labels_by_id(paths: Iterable[Path], *, most_bytes: int = declared_size.MOST_BYTES) -> dict[str, str]:
    """Return the labels in files of late labels, by the id of the prediction.

    Args:
        paths: The files.
        most_bytes: Most bytes that one of them may declare to take once it is unpacked.

    Raises:
        InputError: One of them cannot be read, declares too much, or lacks ``id`` or ``label``.
    """
    labels: dict[str, str] = {}
    for path in paths:
        for batch in file_readers.batches(path, {}, skip=(), most_bytes=most_bytes):
            ids, values = (_categories_of(batch, name, path) for name in ("id", "label"))
            labels |= {
                ids.names[i]: values.names[v]
                for i, v in zip(ids.codes.tolist(), values.codes.tolist(), strict=True)
                if i >= 0 and v >= 0
            }
    return labels


def ids_of(batch: Mapping[str, file_readers.Column], path: Path) -> list[str | None]:
    """Return the ids of a file's rows, None where one is missing; 3 and 3.0 are the same one.

    Raises:
        InputError: There is no such column.
    """
    ids = _categories_of(batch, "id", path)
    return [ids.names[code] if code >= 0 else None for code in ids.codes.tolist()]


def _categories_of(batch: Mapping[str, file_readers.Column], name: str, path: Path) -> Categories:
    column = batch.get(name)
    if not isinstance(column, pa.Array):
        raise InputError(
            f"{path.name} has no column {name!r}.", "Late labels are paired by it; see the layout of logs."
        )
    found = _values(name, column, False, path)
    assert isinstance(found, Categories)
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
