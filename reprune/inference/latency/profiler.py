"""Measures a machine: the latency of a model's operators over the widths they could be cut to."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from reprune.config.target import Target, machine
from reprune.errors import InputError
from reprune.inference.latency.latency_table import Axis, LatencyTable, OperatorLatency
from reprune.inference.latency.operators import Operator, OperatorShape, chain, example_batch
from reprune.inference.session import open_session

Progress = Callable[[float], None]
Point = tuple[int, int]

ROUNDS = 7
BATCH_BYTES = 256 * 2**20
"""Weights held open at once."""

BATCH_POINTS = 48
LARGEST_PROBE = 64
QUANTA = (1, 2, 4, 8, 16, 32)
CLEARLY = 0.1
NOISE = 0.03
FINEST = 16
"""Steps between measured widths are no finer than this many channels, whatever the kernel would allow: between them it
is linear."""

LEVELS = 4
OVERHEAD_CALLS = 200


def profile(
    operators: Iterable[Operator],
    target: Target,
    *,
    seconds: float = 20.0,
    known: LatencyTable | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> LatencyTable:
    """Measure each distinct operator shape at the target's batch size, from coarse to fine.

    First come the dense widths and the neighbours that show the block size, then powers of two, then the widths between
    them; when time is over, what is finer stays interpolated. Points are measured in batches, interleaved in random
    order, as the difference of two chains (`operators.chain`), and summarized by their median.

    Args:
        operators: A model's operators at their dense widths; those without a latency model are left out.
        target: Where the model is served.
        seconds: Time to spend; the first, coarse level is measured in any case.
        known: A table of this very machine and target; its points are kept and not measured again.
        progress: Called with the share of the time used, 0 to 1.
        seed: Seed of the order.

    Raises:
        InputError: The target cannot be served here, or `known` is another machine's.
    """
    key = machine().key(target.check())
    if known is not None and known.key != key:
        raise InputError(
            f"The latency table was measured on {known.key}; this is {key}.",
            "Measure this machine: leave the old table out.",
        )
    plans = _plans(operators, known)
    clock = _Clock(seconds, progress or (lambda share: None))
    measure = partial(_measure, target=target, rng=random.Random(seed), clock=clock)
    measure([(plan, point) for plan in plans for point in plan.probes()], least=True)
    for plan in plans:
        plan.find_axes()
    for level in range(LEVELS):
        wanted = [(plan, point) for plan in plans for point in plan.grid(level)]
        if not measure(wanted, least=level == 0):
            break
    tables = dict(known.operators) if known is not None else {}
    tables |= {plan.shape.key(): plan.table() for plan in plans}
    overhead = _overhead(target)
    return LatencyTable(key=key, target=target, operators=tables, machine=machine(), overhead_seconds=overhead)


@dataclass
class _Plan:
    """The points to measure of one operator shape.

    Axes and the widths below are counted in units (`OperatorShape.units`): a convolution of 8 groups has widths 8, 16,
    24 ... and no others, and its kernels see the channels of one group. Points are widths in channels.
    """

    shape: OperatorShape
    in_widths: set[int]
    out_widths: set[int]
    points: dict[Point, float] = field(default_factory=dict)
    input: Axis = Axis()
    output: Axis = Axis()
    settled: bool = False
    """Whether block sizes are known already, from widths at least as large."""

    @property
    def diagonal(self) -> bool:
        return self.shape.kind == "depthwise"

    def add(self, operator: Operator) -> None:
        """Take in the dense widths of an operator."""
        ins, outs = self.shape.units
        self.in_widths.add(operator.weight_shape[1] * operator.groups // ins)
        self.out_widths.add(operator.weight_shape[0] // outs)

    def start_from(self, known: OperatorLatency) -> None:
        """Take over what was measured before."""
        self.points = {(i, o): seconds for i, o, seconds in known.points}
        widest = [max(side) for side in zip(*self.points, strict=True)]
        ins, outs = self.shape.units
        if widest[0] >= max(self.in_widths) * ins and widest[1] >= max(self.out_widths) * outs:
            self.input, self.output, self.settled = known.input.divided(ins), known.output.divided(outs), True

    def probes(self) -> list[Point]:
        """Return the dense widths, and those that show block sizes, one side at a time."""
        found = set(self._cross(sorted(self.in_widths), sorted(self.out_widths)))
        if self.settled:
            return self._new(found)
        i, o = _top(max(self.in_widths)), _top(max(self.out_widths))
        found |= {self._point(width, o) for width in _neighbours(i)} | {
            self._point(i, width) for width in _neighbours(o)
        }
        return self._new(found)

    def find_axes(self) -> None:
        """Read the block sizes off the probes."""
        if self.settled:
            return
        i, o = _top(max(self.in_widths)), _top(max(self.out_widths))
        self.input = _axis({width: self.points[self._point(width, o)] for width in _neighbours(i)}, i)
        self.output = _axis({width: self.points[self._point(i, width)] for width in _neighbours(o)}, o)

    def grid(self, level: int) -> list[Point]:
        """Return the points of one level of refinement that are not measured yet."""
        finest = max(FINEST // self.shape.groups, 1)
        ins = _widths(self.input, max(self.in_widths), level, finest) | self.in_widths
        outs = _widths(self.output, max(self.out_widths), level, finest) | self.out_widths
        found = set(self._cross(ins, outs))
        if level == 1:  # off the fast path, a few points are enough to keep a planner away
            found |= set(self._cross(_off_path(self.input, max(self.in_widths)), outs))
            found |= set(self._cross(ins, _off_path(self.output, max(self.out_widths))))
        return self._new(found)

    def table(self) -> OperatorLatency:
        ins, outs = self.shape.units
        points = tuple((i, o, seconds) for (i, o), seconds in sorted(self.points.items()))
        return OperatorLatency(
            input=self.input.times(ins), output=self.output.times(outs), points=points, diagonal=self.diagonal
        )

    def _cross(self, ins: Iterable[int], outs: Iterable[int]) -> Iterator[Point]:
        return (self._point(i, o) for i in ins for o in outs if not self.diagonal or i == o)

    def _point(self, in_width: int, out_width: int) -> Point:
        if self.diagonal:
            in_width = out_width = min(in_width, out_width)
        ins, outs = self.shape.units
        return in_width * ins, out_width * outs

    def _new(self, points: Iterable[Point]) -> list[Point]:
        return [point for point in sorted(set(points)) if point not in self.points]


def _plans(operators: Iterable[Operator], known: LatencyTable | None) -> list[_Plan]:
    plans: dict[str, _Plan] = {}
    modelled = [operator for operator in operators if OperatorShape.models(operator)]
    examples = example_batch(modelled)
    for operator in modelled:
        shape = OperatorShape.of(operator, examples)
        plans.setdefault(shape.key(), _Plan(shape, set(), set())).add(operator)
    for key, plan in plans.items():
        if known is not None and key in known.operators:
            plan.start_from(known.operators[key])
    return list(plans.values())


def _top(dense: int) -> int:
    """Return the width whose neighbours are probed: small enough that one block less shows."""
    return (
        next((dense // b * b for b in (32, 16, 8, 4) if dense >= b), dense) if dense < LARGEST_PROBE else LARGEST_PROBE
    )


def _neighbours(top: int) -> list[int]:
    """Return the width itself, and below it the nearest multiple of each power of two that is none of the next."""
    return sorted({top} | {top - b for b in QUANTA if top > b and (top - b) % (2 * b) != 0 and top % b == 0})


def _axis(latencies: dict[int, float], top: int) -> Axis:
    """Read quantum and block off the latencies of a width and its neighbours.

    A neighbour that is slower than the full width is off the fast path. One that is on it but saves less than a quarter
    of what its share of the width promises was rounded up to the full width again.
    """
    steps = [b for b in QUANTA if top - b in latencies]
    slower = [b for b in steps if latencies[top - b] > (1 + CLEARLY) * latencies[top]]
    quantum = min(2 * max(slower), top) if slower else 1
    block = max(quantum, 1)
    for b in reversed([b for b in steps if b >= quantum]):
        if latencies[top - b] > (1 - max(0.25 * b / top, NOISE)) * latencies[top]:
            break
        block = b
    else:
        return Axis(quantum=quantum, block=block)
    return Axis(quantum=quantum, block=min(max(2 * b, quantum), top))


def _widths(axis: Axis, dense: int, level: int, finest: int) -> set[int]:
    """Return aligned widths below the dense one: powers of two, then finer until every block has its own point."""
    if level == 0:
        return set()
    unit = max(axis.block, finest)
    below = {width for width in (4, 8) if width < unit and width % axis.quantum == 0}
    powers = {unit * 2**k for k in range(12)} | below
    between = {3 * width // 2 for width in powers}
    every = set(range(unit, min(dense, 32 * unit), unit))
    chosen = set().union(*(powers, between, every)[:level])
    return {width for width in chosen if 0 < width < dense and width % axis.quantum == 0}


def _off_path(axis: Axis, dense: int) -> set[int]:
    """Return a few widths that the fast path does not take."""
    if axis.quantum == 1:
        return set()
    return {
        width // axis.quantum * axis.quantum - 1 for width in (dense, dense // 2, dense // 4) if width > axis.quantum
    }


class _Clock:
    def __init__(self, seconds: float, progress: Progress) -> None:
        self._begin, self._seconds, self._progress = time.monotonic(), seconds, progress

    def over(self) -> bool:
        used = (time.monotonic() - self._begin) / max(self._seconds, 1e-9)
        self._progress(min(used, 1.0))
        return used >= 1


def _measure(
    wanted: list[tuple[_Plan, Point]], *, target: Target, rng: random.Random, clock: _Clock, least: bool
) -> bool:
    """Measure points in batches of similar cost; return whether all of them were."""
    rng.shuffle(wanted)
    for batch in _batches(wanted, target):
        if clock.over() and not least:
            return False
        for (plan, point), seconds in zip(batch, _time(batch, target, rng), strict=True):
            plan.points[point] = seconds
    return True


def _batches(wanted: list[tuple[_Plan, Point]], target: Target) -> Iterator[list[tuple[_Plan, Point]]]:
    batch: list[tuple[_Plan, Point]] = []
    held = 0
    for plan, (i, o) in wanted:
        size = 4 * (i * o * int(np.prod(plan.shape.kernel or (1,))) * 6 // plan.shape.groups)
        if batch and (len(batch) >= BATCH_POINTS or held + size > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append((plan, (i, o)))
        held += size
    if batch:
        yield batch


def _time(batch: list[tuple[_Plan, Point]], target: Target, rng: random.Random) -> list[float]:
    """Return the seconds of each point: medians over rounds of the difference between a long and a short chain."""
    calls: list[tuple[int, int, Callable[[], object]]] = []
    more = []
    for k, (plan, (i, o)) in enumerate(batch):
        macs = plan.shape.macs(i, o) * target.batch_size
        more.append(4 if macs < 10**7 else 2 if macs < 10**8 else 1)
        for end, copies in enumerate((1, 1 + more[k])):
            calls.append((k, end, _call(chain(plan.shape, i, o, target.batch_size, copies), target)))
    timer = target.timer()
    found = np.empty((len(batch), 2, ROUNDS))
    for turn in range(ROUNDS):
        rng.shuffle(calls)
        for k, end, call in calls:
            call()
            found[k, end, turn] = min(_timed(call, timer) for _ in range(3))
    differences = found[:, 1] - found[:, 0]
    floor = 1e-8  # a difference below the clock's resolution is nothing, and never less than nothing
    return [max(float(np.median(row)) / copies, floor) for row, copies in zip(differences, more, strict=True)]


def _overhead(target: Target) -> float:
    """Return the seconds of a call that computes next to nothing."""
    call = _call(chain(OperatorShape(kind="linear"), 1, 1, 1, 1), target)
    return float(np.median([_timed(call, target.timer()) for _ in range(OVERHEAD_CALLS)]))


def _call(model: bytes, target: Target) -> Callable[[], object]:
    session = open_session(model, target)
    x = session.get_inputs()[0]
    feeds = {x.name: np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    return lambda: session.run(None, feeds)


def _timed(call: Callable[[], object], timer: Callable[[], float]) -> float:
    start = timer()
    call()
    return timer() - start
