"""Prediction logs: what was asked of the champion in production, a file a window, in the store.

Layout::

    logs/<workload>/<YYYY-MM-DD>/<name>.npz

A window is a NumPy archive of arrays with one row an example:

- ``inputs``, or ``inputs.<name>`` for each input of a model that takes several by name: what the model was called with;
- ``labels``, where they are known: the truth, one an example;
- anything else (scores, the version that answered, times) is kept and not looked at: predictions are made anew by the
  champion that the reference belongs to.

Windows are taken in the order of their keys, so let names of one day sort by time (``1430-host7.npz``).
"""

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from reprune.errors import InputError
from reprune.store import Store

if TYPE_CHECKING:
    import numpy as np

ROOT = "logs"
SUFFIX = ".npz"
DAYS = 3
"""Days back, by the name of the folder, that are looked through for windows that land late."""
MOST_DAYS = 31
"""Most folders that one look goes through."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Window:
    """Examples of a window as a map-style dataset of ``(input, target)``; the target is empty where no label is known.

    Args:
        inputs: Tensors by name; a single one named ``""`` stands for itself.
        labels: One an example, or None.
    """

    def __init__(self, inputs: dict[str, Any], labels: Any | None) -> None:
        import torch

        self._inputs, self._labels = inputs, labels
        self._unknown = torch.empty(0)

    def __len__(self) -> int:
        return len(next(iter(self._inputs.values())))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self):
            raise IndexError(index)
        row = {name: values[index] for name, values in self._inputs.items()}
        return row.get("", row), self._unknown if self._labels is None else self._labels[index]


def write(
    store: Store, workload: str, name: str, arrays: "Mapping[str, np.ndarray]", *, day: date | None = None
) -> str:
    """Write a window to the log, whole or not at all, and return its key.

    Args:
        store: The store that the monitor watches.
        workload: Name of the workload.
        name: Name of the window, unique on its day.
        arrays: ``inputs`` (or ``inputs.<name>``), ``labels`` where they are known, and whatever else is to be kept.
        day: In UTC; by default today.

    Raises:
        InputError: The arrays are no window.
    """
    import numpy as np

    named = {key: np.asarray(value) for key, value in arrays.items()}
    _check(named, name)
    key = f"{ROOT}/{workload}/{day or datetime.now(UTC).date():%Y-%m-%d}/{name}{SUFFIX}"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "window.npz"
        np.savez(file, **named)  # type: ignore[arg-type]  # names of arrays, not of options
        store.upload(file, key)
    return key


def read(path: Path) -> Window:
    """Read a window.

    Raises:
        InputError: The file is damaged, or no window.
    """
    import numpy as np
    import torch

    try:
        with np.load(path, allow_pickle=False) as archive:
            named = {key: archive[key] for key in archive.files if key == "labels" or _is_input(key)}
        tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in named.items()}
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path.name} cannot be read as a window: {error}.",
            "Write it whole, with reprune.watch.logs.write or numpy.savez: inputs=..., and labels=... where known.",
        ) from None
    _check(named, path.name)
    inputs = {
        key.removeprefix("inputs").removeprefix("."): value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
        if _is_input(key)
    }
    return Window(inputs, tensors.get("labels"))


def keys(store: Store, workload: str, *, today: date, known: Iterable[str] = ()) -> Iterator[str]:
    """Yield the keys of the windows that are to be looked at, in order; days that lie too far back are left alone.

    Args:
        store: The store.
        workload: Name of the workload.
        today: The day by the clock.
        known: Keys that were seen before.

    Raises:
        InputError: All that was seen before lies in the future.
    """
    day, last = _first_day(known, today), today + timedelta(days=1)
    day = max(day, last - timedelta(days=MOST_DAYS))
    while day <= last:
        prefix = f"{ROOT}/{workload}/{day:%Y-%m-%d}/"
        yield from (key for key in store.list(prefix) if key.endswith(SUFFIX))
        day += timedelta(days=1)


def recent(known: Iterable[str], *, today: date) -> set[str]:
    """Return those keys that `keys` could yield again, today or later: what must be remembered as seen."""
    known = list(known)
    first = _first_day(known, today)
    return {key for key in known if (day := _day_of(key)) and day >= first}


def _first_day(known: Iterable[str], today: date) -> date:
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
    return max(past, default=today) - timedelta(days=DAYS - 1)


def _day_of(key: str) -> date | None:
    parts = key.split("/")
    if len(parts) < 4 or not _DAY.fullmatch(parts[2]):
        return None
    try:
        return date.fromisoformat(parts[2])
    except ValueError:
        return None


def _is_input(key: str) -> bool:
    return key == "inputs" or (key.startswith("inputs.") and len(key) > len("inputs."))


def _check(named: "Mapping[str, np.ndarray]", name: str) -> None:
    inputs = {key: value for key, value in named.items() if _is_input(key)}
    if not inputs or ("inputs" in inputs and len(inputs) > 1):
        raise InputError(
            f"{name} is no window: its arrays are {', '.join(sorted(named)) or 'none at all'}.",
            "Give inputs, or inputs.<name> for each input of the model.",
        )
    lengths = {key: value.shape[0] if value.ndim else -1 for key, value in named.items()}
    used = {key: lengths[key] for key in (*inputs, "labels") if key in lengths}
    if len(set(used.values())) > 1 or -1 in used.values():
        raise InputError(
            f"{name} is no window: rows: {', '.join(f'{count} of {key}' for key, count in sorted(used.items()))}.",
            "Give every array one row an example.",
        )
