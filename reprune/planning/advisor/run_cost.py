"""What a run costs, from what the last one took."""

from typing import Any

from reprune.steps.context import read_records
from reprune.storage.base import Store

LAST = "gate"
"""The step that every run which trained and pruned comes to."""


def last_run_seconds(store: Store, workload: str) -> float | None:
    """Return what the steps of the last whole run took, or None if there was none.

    Args:
        store: Where runs leave their records.
        workload: Name of the workload.
    """
    runs = {key.split("/")[2] for key in store.list(f"runs/{workload}/")}
    whole = [records for run in runs if LAST in (records := _ended(store, workload, run))]
    if not whole:
        return None
    last = max(whole, key=lambda records: float(records[LAST]["ended"]))
    return float(sum(record["seconds"] for record in last.values()))


def _ended(store: Store, workload: str, run: str) -> dict[str, dict[str, Any]]:
    """Return the records of steps that have ended; timings and the notes of a step under way say no seconds."""
    found = read_records(store, workload, run)
    return {step: it for step, it in found.items() if {"seconds", "ended"} <= it.keys()}
