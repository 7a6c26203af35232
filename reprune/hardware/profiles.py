"""Latency tables in a store, one for each machine and target: what is known there is not measured again."""

from collections.abc import Callable, Iterable

from reprune.hardware.latency_table import LatencyTable
from reprune.hardware.operators import Operator
from reprune.hardware.profile import profile
from reprune.hardware.target import Target, machine
from reprune.store import Store


def key(target: Target) -> str:
    """Return where in a store the table of this machine and a target is kept."""
    return f"profiles/{machine().key(target)}.json"


def known(store: Store, target: Target) -> LatencyTable | None:
    """Return what a store knows of this machine and a target."""
    place = key(target)
    return LatencyTable.model_validate_json(store.get(place)) if store.exists(place) else None


def complete(
    store: Store, operators: Iterable[Operator], target: Target, *, progress: Callable[[float], None] | None = None
) -> tuple[LatencyTable, int]:
    """Measure what a store does not know yet of some operators, and keep it there.

    Args:
        store: Where the table is kept.
        operators: A model's operators.
        target: Where the model is served.
        progress: Called with the share of the time used, 0 to 1.

    Returns:
        The table, and how many of its latencies are new.
    """
    before = known(store, target)
    table = profile(operators, target, known=before, progress=progress)
    new = len(table.points) - (len(before.points) if before else 0)
    if new or before is None:
        store.put(key(target), table.model_dump_json().encode())
    return table, new
