"""What a run costs, from what the last one took."""

from reprune.step import read_records
from reprune.store import Store

LAST = "gate"
"""The step that every run which trained and pruned comes to."""


def last_run_seconds(store: Store, workload: str) -> float | None:
    """Return what the steps of the last whole run took, or None if there was none.

    Args:
        store: Where runs leave their records.
        workload: Name of the workload.
    """
    runs = {key.split("/")[2] for key in store.list(f"runs/{workload}/")}
    whole = [records for run in runs if LAST in (records := read_records(store, workload, run))]
    if not whole:
        return None
    last = max(whole, key=lambda records: float(records[LAST]["ended"]))
    return float(sum(record["seconds"] for record in last.values()))
