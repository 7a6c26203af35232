"""Latency tables in a store, one a machine and target: used again, never for another machine, and bounded."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

from pydantic import BaseModel, ConfigDict, ValidationError

from reprune.config.target import Machine, Target, machine
from reprune.errors import ConflictError, IntegrityError
from reprune.inference.latency.latency_table import LatencyTable, OperatorLatency
from reprune.inference.latency.operators import Operator, OperatorShape, example_batch
from reprune.inference.latency.profiler import profile
from reprune.inference.latency.system_load import Load, LoadMeter
from reprune.storage.base import Entry, NotFoundError, Store

MOST_POINTS = 40_000
"""Latencies kept of one machine and target, about 1.5 MB; those of operators used longest ago go first."""

MOST_OPERATOR_POINTS = 4_000
"""Latencies kept of one operator shape."""

TRIES = 20


class Profiled(BaseModel):
    """What a profile took.

    Attributes:
        key: Where the table is in the store.
        table: All that is known of this machine and target.
        shapes: Keys of the operators that were asked for.
        reused: Latencies of those that the store held, by operator.
        measured: Latencies that were measured now, by operator.
        seconds: Time it took.
        load: What else the machine was doing.
        discarded: Why what the store held was not used; empty where it was, or where there was nothing.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    table: LatencyTable
    shapes: tuple[str, ...]
    reused: dict[str, int]
    measured: dict[str, int]
    seconds: float
    load: Load
    discarded: str = ""

    @property
    def asked(self) -> LatencyTable:
        """Return the part of the table that was asked for."""
        return self.table.model_copy(update={"operators": {it: self.table.operators[it] for it in self.shapes}})


def complete(
    store: Store,
    operators: Iterable[Operator],
    target: Target,
    *,
    seconds: float = 20.0,
    fresh: bool = False,
    refine: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Profiled:
    """Measure what the store does not hold yet of this machine and target, and add it there.

    Several may do so at once: each adds its own latencies to what the others have written meanwhile.

    Args:
        store: Where tables are kept.
        operators: A model's operators at their dense widths.
        target: Where the model is served.
        seconds: Time to spend on what is new.
        fresh: Measure everything anew.
        refine: Go on between the widths that are known of an operator, too; else only what is new is measured.
        progress: Called with the share of the time used, 0 to 1.

    Raises:
        InputError: The target cannot be served here.
        StoreError: The store cannot be used, or others write to it without end.
    """
    operators = list(operators)
    key = key_of(target.check())
    known, discarded = _usable(store, key, machine())
    known = None if fresh else known
    meter, begin = LoadMeter(), time.monotonic()
    modelled = [it for it in operators if OperatorShape.models(it)]
    examples = example_batch(modelled)
    shapes = tuple(dict.fromkeys(OperatorShape.of(it, examples).key() for it in modelled))
    counts = {it: _points(known, it) for it in shapes}
    seconds = seconds if refine or not all(counts.values()) else 0.0
    table = profile(operators, target, known=known, seconds=seconds, progress=progress)
    taken, load = time.monotonic() - begin, meter.read(target.threads)
    return Profiled(
        key=key,
        table=_add(store, key, table, shapes, replace=fresh),
        shapes=shapes,
        reused=counts,
        measured={it: _points(table, it) - counts[it] for it in shapes},
        seconds=taken,
        load=load,
        discarded=discarded,
    )


def key_of(target: Target) -> str:
    """Return where the store keeps the table of this machine and a target."""
    return f"profiles/{machine().key(target)}.json"


def read_profile(store: Store, key: str) -> LatencyTable:
    """Read a table that a profile has left, of whichever machine.

    Raises:
        NotFoundError: There is none.
        IntegrityError: It is damaged, or is not the table of the machine that its key names.
    """
    return _parse(store.get(key), key)


def _parse(data: bytes, key: str) -> LatencyTable:
    try:
        table = LatencyTable.model_validate_json(data)
    except ValidationError as error:
        problem = str(error).splitlines()[0]
        message = f"The latency table {key} is damaged: {problem}."
        raise IntegrityError(message, "Measure again: reprune profile.") from None
    measured_on = table.machine.key(table.target) if table.machine else table.key
    if not table.key == measured_on == key.removeprefix("profiles/").removesuffix(".json"):
        raise IntegrityError(
            f"The latency table {key} was measured on {table.key}, {_described(table.machine)}.",
            "Measure on the machine that serves the model: reprune profile.",
        )
    return table


def _usable(store: Store, key: str, here: Machine) -> tuple[LatencyTable | None, str]:
    """Return the table of this machine, or None and why what is kept by its name is not that."""
    try:
        return read_profile(store, key), ""
    except NotFoundError:
        return None, ""
    except IntegrityError as error:
        return None, f"{error.message} Here is {_described(here)}: measured anew."


def _described(where: Machine | None) -> str:
    return "on an unknown machine" if where is None else ", ".join(str(getattr(where, it.name)) for it in fields(where))


def _points(table: LatencyTable | None, shape: str) -> int:
    found = table.operators.get(shape) if table is not None else None
    return len(found.points) if found is not None else 0


def _add(store: Store, key: str, table: LatencyTable, shapes: Sequence[str], *, replace: bool) -> LatencyTable:
    """Write what was measured, united with what is in the store by then; returns what was written."""
    for attempt in range(TRIES):
        try:
            entry = store.entry(key)
        except NotFoundError:
            entry = None
        united = unite(_readable(entry, key), table, shapes, replace=replace)
        data = united.model_dump_json().encode()
        try:
            store.put(key, data, if_absent=entry is None, if_match=entry.token if entry else None)
            return united
        except ConflictError:  # another one added to it meanwhile
            if attempt == TRIES - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * (attempt + 1)))
    raise AssertionError("unreachable")


def _readable(entry: Entry | None, key: str) -> LatencyTable | None:
    try:
        return _parse(entry.data, key) if entry else None
    except IntegrityError:
        return None


def unite(
    stored: LatencyTable | None, table: LatencyTable, shapes: Sequence[str], *, replace: bool = False
) -> LatencyTable:
    """Return a stored table with what was measured of some operators, those used longest ago left out if need be.

    Args:
        stored: What the store holds; None for nothing.
        table: What was measured.
        shapes: The operators to take from it; they become the last in the table, as those used last.
        replace: Forget what was stored of these operators.
    """
    operators = dict(stored.operators) if stored else {}
    for name in shapes:
        theirs, ours = operators.pop(name, None), table.operators[name]
        operators[name] = ours if theirs is None or replace else _united(theirs, ours)
    surplus = sum(len(it.points) for it in operators.values()) - MOST_POINTS
    for name in [it for it in operators if it not in shapes]:
        if surplus <= 0:
            break
        surplus -= len(operators.pop(name).points)
    return table.model_copy(update={"operators": operators})


def _united(theirs: OperatorLatency, ours: OperatorLatency) -> OperatorLatency:
    """Return the points of both, and the block sizes of the wider one, whose probes showed more."""
    points, new = _by_widths(theirs), _by_widths(ours)
    wider = max((ours, theirs), key=lambda it: [max(side) for side in zip(*_by_widths(it), strict=True)])
    rows = sorted({i for i, _ in points} - {i for i, _ in new.keys() - points.keys()} - {max(points)[0]})
    points |= new
    while len(points) > MOST_OPERATOR_POINTS and rows:
        dropped = set(rows[::2])
        rows = rows[1::2]
        points = {at: seconds for at, seconds in points.items() if at[0] not in dropped}
    kept = tuple((i, o, seconds) for (i, o), seconds in sorted(points.items()))
    return wider.model_copy(update={"points": kept})


def _by_widths(latencies: OperatorLatency) -> dict[tuple[int, int], float]:
    return {(i, o): seconds for i, o, seconds in latencies.points}
