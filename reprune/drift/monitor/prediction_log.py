"""Prediction logs: what was asked of the champion in production, a file a window, in the store.

Layout::

    logs/<workload>/<YYYY-MM-DD>/<name>.npz (or .parquet, .csv)

A window holds one row a prediction, in columns as `reprune.drift.window_reader` names them: an input is under the
name that
the ONNX graph has for it (``input``, where the model takes one tensor), the truth, where it is known, is ``label``.
Predictions are not needed: those of the champion that the reference belongs to are made anew. Files whose names begin
with ``labels`` are no windows, but labels that came later (see `labels`).

Windows are taken in the order of their keys, so let names of one day sort by time (``1430-host7.npz``).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reprune.errors import InputError
from reprune.storage.base import Store

if TYPE_CHECKING:
    import numpy as np

    from reprune.drift.file_readers import Batch

ROOT = "logs"
LABELS = "labels"
SUFFIXES = (".npz", ".parquet", ".csv")
DAYS = 3
"""Days back, by the name of the folder, that are looked through for windows that land late."""
MOST_ROWS = 20_000
"""Most rows of a window that are kept, drawn at random: a large window needs no more memory than that."""
LABEL_DAYS = 28
"""Likewise, for labels."""
MOST_DAYS = 31
"""Most folders that one look goes through."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Window:
    """Examples of a window.

    Attributes:
        inputs: Arrays ``[N, ...]`` by the names of the model's inputs.
        labels: ``[N]``; None where they are not known for every row.
        rows: Rows of the file, of which these may be a sample.
    """

    inputs: "dict[str, np.ndarray]"
    labels: "np.ndarray | None"
    rows: int

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def batches(self, chosen: "np.ndarray", size: int) -> "Iterator[tuple[dict[str, np.ndarray], np.ndarray | None]]":
        """Yield inputs and labels of the chosen examples, so many at a time."""
        for start in range(0, len(chosen), size):
            rows = chosen[start : start + size]
            inputs = {name: values[rows] for name, values in self.inputs.items()}
            yield inputs, None if self.labels is None else self.labels[rows]


def write(
    store: Store, workload: str, name: str, arrays: "Mapping[str, np.ndarray]", *, day: date | None = None
) -> str:
    """Write a window to the log, whole or not at all, and return its key; an example for whoever serves the model.

    Args:
        store: The store that the monitor watches.
        workload: Name of the workload.
        name: Name of the window, unique on its day.
        arrays: ``input`` (or each input by its name), ``label`` where it is known, and whatever else is to be kept.
        day: In UTC; by default today.
    """
    import numpy as np

    with TemporaryDirectory() as folder:
        file = Path(folder) / "window.npz"
        np.savez(file, **{key: np.asarray(value) for key, value in arrays.items()})  # type: ignore[arg-type]
        key = f"{ROOT}/{workload}/{day or datetime.now(UTC).date():%Y-%m-%d}/{name}.npz"
        store.upload(file, key)
    return key


def read(
    path: Path,
    shapes: "Mapping[str, Sequence[int | None]]",
    *,
    labels: "Mapping[str, np.generic] | None" = None,
    most_bytes: int | None = None,
) -> Window:
    """Read a window.

    Args:
        path: The file.
        shapes: Of one example, by the names of the inputs, None for sizes that may differ; a flat list takes it.
        labels: That came later, by id; only rows that have one are read then, with it.
        most_bytes: Most bytes that the file may declare to take once it is unpacked; by default far more than logs do.

    Raises:
        InputError: The file is damaged, declares too much, or is no window of these inputs.
    """
    import numpy as np

    columns, rows = _columns(path, shapes, labels, most_bytes)
    label = columns.pop("label", None)
    missing = [name for name in shapes if name not in columns]
    if missing:
        raise InputError(
            f"{path.name} lacks {', '.join(missing)}, which the champion takes.",
            "Write the model's inputs under the names that its ONNX graph has for them, one row a prediction.",
        )
    for name, values in columns.items():
        sizes = [size for size in shapes[name] if size is not None]
        if len(sizes) == len(shapes[name]) and prod(values.shape[1:]) == prod(sizes):
            columns[name] = values.reshape(len(values), *sizes)
    inputs = {name: it.astype(np.float32) if it.dtype.kind == "f" else it for name, it in columns.items()}
    return Window(inputs, label if label is not None and label.ndim == 1 else None, rows)


def joined(parts: Sequence[Window]) -> Window:
    """Return windows of the same inputs as one."""
    import numpy as np

    told = [part.labels for part in parts if part.labels is not None]
    return Window(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        np.concatenate(told) if len(told) == len(parts) else None,
        sum(part.rows for part in parts),
    )


def _columns(
    path: Path, inputs: Collection[str], labels: "Mapping[str, np.generic] | None", most_bytes: int | None
) -> "tuple[dict[str, np.ndarray], int]":
    """Return the inputs of a window, its labels where they are numbers and known for every row, and the row count."""
    import numpy as np
    import pyarrow as pa

    from reprune.drift import declared_size, file_readers

    draw, rows, places = np.random.default_rng(0), 0, np.empty(0)
    columns: dict[str, np.ndarray] = {}
    for batch in file_readers.batches(path, {}, skip=(), most_bytes=most_bytes or declared_size.MOST_BYTES):
        if labels is not None:
            batch = _labelled(batch, labels, path)
        count = len(next(iter(batch.values())))
        rows, places = rows + count, np.concatenate([places, draw.random(count)])
        kept = np.sort(np.argsort(places)[:MOST_ROWS])  # the rows of the smallest numbers, in the order of the file
        places = places[kept]
        for name, column in batch.items():
            if name == "label" or name in inputs:
                values = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column
                columns[name] = np.concatenate([*([columns[name]] if name in columns else []), values])[kept]
    label = columns.get("label")
    if label is not None and (label.dtype.kind not in "iuf" or (label.dtype.kind == "f" and np.isnan(label).any())):
        del columns["label"]
    for name, values in columns.items():
        if values.dtype.kind not in "iufb":
            raise InputError(f"{path.name}: {name!r} holds no numbers.", "Write inputs as the model takes them.")
    return columns, rows


def _labelled(batch: "Batch", labels: "Mapping[str, np.generic]", path: Path) -> "Batch":
    """Return the rows that labels came for, with them."""
    import numpy as np
    import pyarrow as pa

    from reprune.drift.window_reader import ids_of

    told = [(row, labels[name]) for row, name in enumerate(ids_of(batch, path)) if name and name in labels]
    rows = np.array([row for row, _ in told], dtype=np.int64)
    kept: Batch = {
        name: column.take(pa.array(rows)) if isinstance(column, pa.Array) else column[rows]
        for name, column in batch.items()
    }
    return kept | {"label": np.array([label for _, label in told])}


def is_labels(key: str) -> bool:
    """Return whether a key is that of labels, and not of a window."""
    return key.rpartition("/")[2].startswith(LABELS)


def windows_beside(store: Store, key: str) -> list[str]:
    """Return the keys of the windows in the same folder, in order."""
    return [it for it in store.list(key[: key.rindex("/") + 1]) if it.endswith(SUFFIXES) and not is_labels(it)]


def keys(store: Store, workload: str, *, today: date, known: Iterable[str] = (), labels: bool = False) -> Iterator[str]:
    """Yield the keys of the windows that are to be looked at, in order; days that lie too far back are left alone.

    Args:
        store: The store.
        workload: Name of the workload.
        today: The day by the clock.
        known: Keys that were seen before.
        labels: Whether files of labels are wanted, and not windows.

    Raises:
        InputError: All that was seen before lies in the future.
    """
    day, last = _first_day(known, today, LABEL_DAYS if labels else DAYS), today + timedelta(days=1)
    day = max(day, last - timedelta(days=MOST_DAYS))
    while day <= last:
        prefix = f"{ROOT}/{workload}/{day:%Y-%m-%d}/"
        yield from (key for key in store.list(prefix) if key.endswith(SUFFIXES) and is_labels(key) == labels)
        day += timedelta(days=1)


def latest(store: Store, workload: str, model: Path) -> Window | None:
    """Return the latest window of the log, or None where none has landed in the latest days.

    Args:
        store: The store.
        workload: Name of the workload.
        model: The champion's ONNX file, which says what a window holds.

    Raises:
        InputError: It is damaged, or no window of these inputs.
    """
    found = list(keys(store, workload, today=datetime.now(UTC).date()))
    if not found:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / found[-1].rpartition("/")[2]
        store.download(found[-1], path)
        return read(path, inputs_of(model))


def inputs_of(model: Path) -> dict[str, list[int | None]]:
    """Return the shape of one example by the names of an ONNX model's inputs; None for a size that may differ."""
    from reprune.config.target import Target
    from reprune.inference.session import open_session

    taken = open_session(model, Target()).get_inputs()
    return {it.name: [size if isinstance(size, int) else None for size in it.shape[1:]] for it in taken}


def recent(known: Iterable[str], *, today: date) -> set[str]:
    """Return those keys that `keys` could yield again, today or later: what must be remembered as seen."""
    known = list(known)
    first = {late: _first_day(known, today, LABEL_DAYS if late else DAYS) for late in (False, True)}
    return {key for key in known if (day := _day_of(key)) and day >= first[is_labels(key)]}


def _first_day(known: Iterable[str], today: date, days: int) -> date:
    """Return the first day that is looked at: some days before the latest window that was seen, or before today.

    Counted from the windows, not from the clock: a clock that is set back must not bring old windows up again.
    """
    seen = {day for key in known if (day := _day_of(key))}
    past = [day for day in seen if day <= today + timedelta(days=1)]
    if seen and not past:
        raise InputError(
            f"The clock says {today}, and the windows seen so far are of {min(seen)} and later.",
            "Mend the clock. If it was wrong before: delete the state of the monitor, so that it starts anew.",
        )
    return max(past, default=today) - timedelta(days=days - 1)


def _day_of(key: str) -> date | None:
    parts = key.split("/")
    if len(parts) < 4 or not _DAY.fullmatch(parts[2]):
        return None
    try:
        return date.fromisoformat(parts[2])
    except ValueError:
        return None
