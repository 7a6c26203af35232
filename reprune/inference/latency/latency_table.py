"""Latency of every operator over its input and output widths, as measured on one machine."""

from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from reprune.config.target import Machine, Target
from reprune.errors import InputError
from reprune.inference.latency.operators import OperatorShape


class Axis(BaseModel):
    """How widths along one side of an operator behave.

    Attributes:
        quantum: Multiples of it take the runtime's fast path; 1 where every width does.
        block: Widths are rounded up to it inside the kernel, so a smaller step saves nothing; at least the quantum.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    quantum: int = 1
    block: int = 1

    def aligned(self, width: int) -> bool:
        """Return whether a width takes the fast path."""
        return width % self.quantum == 0

    def times(self, unit: int) -> "Axis":
        """Return the axis of widths that are counted in channels, from one of units of channels."""
        return Axis(quantum=self.quantum * unit, block=self.block * unit) if unit > 1 else self

    def divided(self, unit: int) -> "Axis":
        """Return the axis of widths that are counted in units of channels."""
        return Axis(quantum=max(self.quantum // unit, 1), block=max(self.block // unit, 1))

    def effective(self, width: int) -> int:
        """Return the width that the kernel computes; widths below one block have kernels of their own."""
        return width if width < self.block else -(-width // self.block) * self.block


class OperatorLatency(BaseModel):
    """Measured latencies of one operator shape.

    Attributes:
        input: Behaviour of the input width.
        output: Behaviour of the output width.
        points: ``(input width, output width, seconds)``.
        diagonal: Whether both widths are always the same, as in a depthwise convolution.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    input: Axis
    output: Axis
    diagonal: bool = False
    points: tuple[tuple[int, int, float], ...]

    @cached_property
    def _surfaces(self) -> dict[tuple[bool, bool], "_Surface"]:
        found: dict[tuple[bool, bool], dict[tuple[int, int], float]] = {}
        for i, o, seconds in self.points:
            kind = self.input.aligned(i), self.output.aligned(o)
            found.setdefault(kind, {})[i, 0 if self.diagonal else o] = seconds
        every = {(i, 0 if self.diagonal else o): seconds for i, o, seconds in self.points}
        found.setdefault((True, True), every)  # no width measured so far takes the fast path on both sides
        return {kind: _Surface(points) for kind, points in found.items()}

    def latency(self, in_width: int, out_width: int) -> float:
        """Return seconds at any width: measured points, linear between, steps where the kernel has blocks."""
        exact = self._measured.get((in_width, out_width))
        if exact is not None:
            return exact
        kind = self.input.aligned(in_width), self.output.aligned(out_width)
        surface = self._surfaces.get(kind) or self._surfaces[True, True]
        i = self.input.effective(in_width) if kind[0] else in_width
        o = self.output.effective(out_width) if kind[1] else out_width
        return surface.at(i, 0 if self.diagonal else o)

    @cached_property
    def _measured(self) -> dict[tuple[int, int], float]:
        return {(i, o): seconds for i, o, seconds in self.points}


class LatencyTable(BaseModel):
    """Operator latencies of one machine and target.

    Attributes:
        key: The machine's and target's key; the table means nothing elsewhere.
        target: Provider, threads and batch size.
        operators: Latencies by operator shape's key.
        machine: The machine; None in tables of no machine that exists.
        overhead_seconds: What one call of the runtime takes when there is nothing to compute.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    key: str
    target: Target
    operators: dict[str, OperatorLatency]
    machine: Machine | None = None
    overhead_seconds: float = 0.0

    @property
    def points(self) -> list[tuple[str, int, int, float]]:
        """Return every measured point: operator shape, input width, output width, seconds."""
        return [(name, *point) for name, operator in self.operators.items() for point in operator.points]

    def latency(self, shape: OperatorShape, in_width: int, out_width: int) -> float:
        """Return the seconds one operator takes at the given widths.

        Raises:
            InputError: The operator was never measured.
        """
        return self.of(shape).latency(in_width, out_width)

    def axes(self, shape: OperatorShape) -> tuple[Axis, Axis]:
        """Return how an operator's input and output widths behave.

        Raises:
            InputError: The operator was never measured.
        """
        found = self.of(shape)
        return found.input, found.output

    def of(self, shape: OperatorShape) -> OperatorLatency:
        """Return what was measured of an operator shape.

        Raises:
            InputError: Nothing was.
        """
        found = self.operators.get(shape.key())
        if found is None:
            raise InputError(f"The latency table holds no {shape.key()}.", "Profile the hardware with this model.")
        return found


class _Surface:
    """Bilinear interpolation over scattered rows: each input width has its own measured output widths."""

    def __init__(self, points: Mapping[tuple[int, int], float]) -> None:
        rows: dict[int, list[tuple[int, float]]] = {}
        for (i, o), seconds in sorted(points.items()):
            rows.setdefault(i, []).append((o, seconds))
        self._widths = list(rows)
        self._rows = [([o for o, _ in row], [seconds for _, seconds in row]) for row in rows.values()]

    def at(self, in_width: int, out_width: int) -> float:
        return _line(self._widths, [_line(*row, out_width) for row in self._rows], in_width)


def _line(widths: list[int], values: list[float], width: int) -> float:
    """Interpolate; beyond the ends, the latency goes on in proportion above and stays as it is below."""
    if width <= widths[0]:
        return values[0]
    if width > widths[-1]:
        return values[-1] * width / widths[-1]
    k = bisect_left(widths, width)
    share = (width - widths[k - 1]) / (widths[k] - widths[k - 1])
    return values[k - 1] + share * (values[k] - values[k - 1])
