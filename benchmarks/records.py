"""Raw results as JSON lines, one record a line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Records:
    """The records of a file, appended one by one, so an interrupted run can resume.

    Args:
        path: The file. It may not exist yet.
        keys: The fields that identify a record.
    """

    def __init__(self, path: Path, keys: Iterable[str] = ()) -> None:
        self._path, self._keys = path, tuple(keys)
        lines = path.read_text().splitlines() if path.is_file() else []
        self._records: list[Record] = [json.loads(line) for line in lines]

    def has(self, *key: Any) -> bool:
        """Return whether a record has these values of the key fields."""
        return any(tuple(record[name] for name in self._keys) == key for record in self)

    def select(self, **fields: Any) -> list[Record]:
        """Return the records with these values, in the order of the file."""
        return [record for record in self if fields.items() <= record.items()]

    def add(self, **record: Any) -> Record:
        """Append a record to the file, and return it."""
        self._records.append(record)
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        return record

    def replace(self, records: Iterable[Record]) -> None:
        """Write the file again with these records."""
        self._records = list(records)
        self._path.write_text("".join(json.dumps(record) + "\n" for record in self._records))

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
