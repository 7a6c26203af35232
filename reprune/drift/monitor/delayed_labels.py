"""Labels that land after the predictions that they are of, paired with them by the id of the request.

Layout::

    logs/<workload>/<YYYY-MM-DD>/labels<anything>.parquet (or .csv, .npz)

with columns ``id`` and ``label``, in the folder of the day of the predictions, however late they come. A file is judged
once, as the window of all predictions of that day that it labels; write it when there are enough of them (30).
"""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reprune.drift.monitor import prediction_log
from reprune.errors import InputError
from reprune.storage.base import NotFoundError, Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np


def read(
    store: Store,
    key: str,
    path: Path,
    shapes: "Mapping[str, Sequence[int | None]]",
    *,
    unread: "Mapping[str, str] | None" = None,
    most_bytes: int | None = None,
) -> tuple[prediction_log.Window, float]:
    """Return the predictions that a file of labels is about, with these labels.

    Args:
        store: The store.
        key: Of the labels.
        path: The file, fetched.
        shapes: Of one example, by the names of the model's inputs.
        unread: Windows that could not be judged, and when they were written; they are passed over.
        most_bytes: Most bytes that a file may declare to take once it is unpacked.

    Returns:
        The examples, and how many seconds the labels came after the latest window that holds any of them.

    Raises:
        InputError: The file is damaged, or labels no prediction of its day.
    """
    known, unread = _numbers(path, most_bytes), unread or {}
    parts, written = list[prediction_log.Window](), list[datetime]()
    for window in prediction_log.windows_beside(store, key):
        with TemporaryDirectory() as folder:
            file = Path(folder) / Path(window).name
            try:
                modified = store.modified(window)
                if unread.get(window) == modified.isoformat():
                    continue
                store.download(window, file)
                part = prediction_log.read(file, shapes, labels=known, most_bytes=most_bytes)
            except (InputError, NotFoundError):
                continue  # counted as broken where it was judged, or written without ids, or gone since
        if len(part):
            parts.append(part)
            written.append(modified)
    if not parts:
        raise InputError(
            f"{path.name}: no window of its day has any of its {len(known):,} ids.",
            "Write labels into the folder of the predictions that they are of, and ids into both.",
        )
    return prediction_log.joined(parts), (store.modified(key) - max(written)).total_seconds()


def _numbers(path: Path, most_bytes: int | None) -> "Mapping[str, np.generic]":
    """Return labels by id; whole numbers, if all are, are classes."""
    import numpy as np

    from reprune.drift import declared_size
    from reprune.drift.window_reader import labels_by_id

    named = labels_by_id([path], most_bytes=most_bytes or declared_size.MOST_BYTES)
    try:
        values = np.array([float(name) for name in named.values()])
    except ValueError as error:
        raise InputError(f"{path.name}: its labels hold no numbers: {error}.", "Write labels as in training.") from None
    whole = (values == np.trunc(values)).all()
    return dict(zip(named, values.astype(np.int64) if whole else values, strict=True))
