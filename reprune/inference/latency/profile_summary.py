"""What a profile found, in a few numbers an operator: where latency steps, and what is paid at any width."""

from collections.abc import Iterable

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.inference.latency.latency_table import Axis, LatencyTable, OperatorLatency


class OperatorSummary(BaseModel):
    """What was found of one operator shape.

    Attributes:
        operator: The shape's key; its first word is its kind.
        in_width: The widest input that was measured; out_width likewise.
        out_width: The widest output at that input.
        seconds: Latency at these widths.
        fixed_seconds: What of it does not fall with the widths: the intercept of a line through all points on the fast
            path, over the product of the widths as the kernel rounds them.
        input: Steps along the input width; output likewise.
        points: Latencies that were measured.
    """

    model_config = ConfigDict(frozen=True)

    operator: str
    in_width: int
    out_width: int
    seconds: float
    fixed_seconds: float
    input: Axis
    output: Axis
    points: int

    @property
    def kind(self) -> str:
        """Return ``conv``, ``depthwise`` or ``linear``."""
        return self.operator.split()[0]


class KindSummary(BaseModel):
    """What the operators of one kind have in common.

    Attributes:
        kind: ``conv``, ``depthwise`` or ``linear``.
        operators: How many there are.
        fixed_seconds: Median of their fixed costs.
        blocks: Block sizes found along either width, in order.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    operators: int
    fixed_seconds: float
    blocks: tuple[int, ...]

    def text(self) -> str:
        """Return the summary in words."""
        blocks = " or ".join(map(str, self.blocks))
        fixed = f"about {1e6 * self.fixed_seconds:.1f} µs is paid at any width (median of {self.operators})"
        return f"{self.kind}: latency steps every {blocks} channels; {fixed}"


def summarize(table: LatencyTable) -> list[OperatorSummary]:
    """Return a summary of each operator, the slowest first."""
    found = [_summary(name, latencies) for name, latencies in table.operators.items()]
    return sorted(found, key=lambda it: -it.seconds)


def by_kind(summaries: Iterable[OperatorSummary]) -> list[KindSummary]:
    """Return what each kind of operator has in common, by name."""
    kinds: dict[str, list[OperatorSummary]] = {}
    for it in summaries:
        kinds.setdefault(it.kind, []).append(it)
    return [
        KindSummary(
            kind=kind,
            operators=len(its),
            fixed_seconds=float(np.median([it.fixed_seconds for it in its])),
            blocks=tuple(sorted({axis.block for it in its for axis in (it.input, it.output)})),
        )
        for kind, its in sorted(kinds.items())
    ]


def _summary(name: str, latencies: OperatorLatency) -> OperatorSummary:
    in_width, out_width, seconds = max(latencies.points)
    return OperatorSummary(
        operator=name,
        in_width=in_width,
        out_width=out_width,
        seconds=seconds,
        fixed_seconds=_fixed(latencies),
        input=latencies.input,
        output=latencies.output,
        points=len(latencies.points),
    )


def _fixed(latencies: OperatorLatency) -> float:
    """Return the intercept, each point weighted by its own latency, between nothing and the fastest point."""
    ins, outs = latencies.input, latencies.output
    on = [it for it in latencies.points if ins.aligned(it[0]) and outs.aligned(it[1])] or list(latencies.points)
    work = [ins.effective(i) * (1 if latencies.diagonal else outs.effective(o)) for i, o, _ in on]
    seconds = np.array([it[2] for it in on])
    fastest = float(seconds.min())
    if len(set(work)) < 2:
        return fastest
    design = np.stack([np.ones(len(on)), np.array(work) / max(work)], axis=1)
    intercept = np.linalg.lstsq(design / seconds[:, None], np.ones(len(on)), rcond=None)[0][0]
    return float(np.clip(intercept, 0.0, fastest))
