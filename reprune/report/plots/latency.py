"""How latency is distributed, and how it depends on width."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reprune import formatting
from reprune.inference.latency.bootstrap import Estimate
from reprune.inference.latency.latency_table import LatencyTable, OperatorLatency
from reprune.report import theme
from reprune.report.html import Figure

_OTHERS = (theme.PRUNED, theme.CHAMPION, theme.WARN, theme.INK)
MOST_PANELS = 12


def distribution(seconds: Mapping[str, Sequence[float]], *, target: str, baseline: str = "dense") -> Figure:
    """Draw the distribution of every model's latencies, as the share of inferences that took at most so long.

    Args:
        seconds: Durations by model; ``control`` is the baseline a second time.
        target: Where it was measured, in words.
        baseline: The model that the others are compared with.
    """
    colours = _colours(seconds, baseline)
    longest = max(float(np.quantile(values, 0.99)) for values in seconds.values())
    factor, unit = (1e3, "ms") if longest >= 1e-3 else (1e6, "µs")

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for name in sorted(seconds, key=lambda it: it != "control"):
            values = np.sort(np.asarray(seconds[name])) * factor
            shares = np.linspace(0, 1, min(len(values), 400))
            colour = colours[name]
            label = f"{baseline} again (control)" if name == "control" else name
            (line,) = axes.plot(np.quantile(values, shares), shares * 100, color=colour, label=label)
            if name == "control":
                line.set_linestyle((0, (4, 2)))
            axes.plot(np.quantile(values, 0.5), 50, "o", color=colour, markersize=5)
        axes.set(xlabel=f"latency of one inference ({unit})", ylabel="inferences at most as slow (%)", ylim=(0, 102))
        axes.set_xlim(0, longest * factor * 1.1)
        axes.legend(loc="lower right", reverse=True)
        theme.bare(axes)

    p50 = {name: formatting.seconds(float(np.median(values))) for name, values in seconds.items()}
    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=3.4),
        alt=f"Latency on {target}: medians " + ", ".join(f"{name} {value}" for name, value in p50.items()),
        caption=f"{target}. Dots mark the medians. The dashed line is {baseline} measured a second time: "
        f"its distance from {baseline} is noise.",
    )


def ratios(found: Mapping[str, Estimate], noise: Estimate, baseline: str) -> Figure:
    """Draw each model's latency ratio with its interval over the band in which nothing can be told.

    Args:
        found: Latency divided by the baseline's, by model; ``control`` is the baseline a second time.
        noise: How far from 1 the ratio of two identical models came.
        baseline: The model that the others are divided by.
    """
    colours = _colours(found, baseline)
    names = list(found)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.axvspan(noise.low, noise.high, color=theme.GRID)
        axes.axvline(1, color=theme.CONTROL, linewidth=1)
        for place, name in enumerate(reversed(names)):
            it = found[name]
            axes.plot([it.low, it.high], [place, place], color=colours[name])
            axes.plot(it.value, place, "o", color=colours[name], markersize=5)
        axes.set_yticks(range(len(names)), [f"{baseline} again" if name == "control" else name for name in names[::-1]])
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"latency divided by that of {baseline}")
        theme.bare(axes, x_grid=True)

    told = ", ".join(f"{name} {formatting.times(it.value)}" for name, it in found.items())
    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=1.0 + 0.34 * len(names)),
        alt=f"Latency ratio to {baseline}: {told}",
        caption=f"Lines are 95 % intervals. The band is the spread of {baseline} against itself: "
        "what reaches into it is not called a difference.",
    )


def profile(table: LatencyTable) -> Figure:
    """Draw the latency of each operator over its output width, a panel an operator.

    Args:
        table: The profile; of each operator the curve at the input width with the most measured points is drawn.
    """
    slowest = {name: max(seconds for *_, seconds in it.points) for name, it in table.operators.items()}
    shown = sorted(slowest, key=lambda name: -slowest[name])[:MOST_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)

    def paint(canvas: Canvas) -> None:
        panels = np.atleast_1d(canvas.subplots(rows, columns, squeeze=False)).flatten()
        for axes, name in zip(panels, shown, strict=False):
            _curve(axes, table.operators[name])
            axes.set_title(short(name, 44), fontsize=8)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        canvas.supxlabel("output width (channels)", color=theme.MUTED, fontsize=9)
        canvas.supylabel("latency (µs)", color=theme.MUTED, fontsize=9)

    left_out = f" The {len(shown)} slowest of {len(slowest)} operators." if len(shown) < len(slowest) else ""
    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=2.0 * rows + 0.4),
        alt=f"Measured latency over output width for {formatting.count(len(shown), 'operator')}",
        caption="Dots were measured, at the input width that stands in the panel; the line is what a plan reads "
        "between them. A flat stretch is one block of the kernel: every width in it costs what the widest does. "
        f"Orange dots are widths that miss the kernel's fast path.{left_out}",
    )


def _curve(axes: Axes, operator: OperatorLatency) -> None:
    """Draw one operator's latencies over its output width: those measured, and the table's between them."""
    ins = [i for i, _, _ in operator.points]
    fixed = None if operator.diagonal else max(ins, key=lambda i: (ins.count(i), i))
    measured = {o: seconds for i, o, seconds in operator.points if fixed in (None, i)}
    line = [o for o in range(min(measured), max(measured) + 1) if operator.output.aligned(o)]
    curve = [operator.latency(o if fixed is None else fixed, o) * 1e6 for o in line]
    axes.plot(line, curve, color=theme.PRUNED, linewidth=1.2)
    for colour, aligned in ((theme.PRUNED, True), (theme.WARN, False)):
        widths = [o for o in measured if operator.output.aligned(o) == aligned]
        axes.plot(widths, [measured[o] * 1e6 for o in widths], "o", color=colour, markersize=3.5)
    if fixed is not None:
        axes.text(0.03, 0.9, f"input {fixed}", transform=axes.transAxes, color=theme.MUTED, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    theme.bare(axes)


def short(name: str, most: int = 26) -> str:
    """Return a name that fits over a panel, cut in the middle."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def _colours(names: Iterable[str], baseline: str) -> dict[str, str]:
    others = [name for name in names if name not in (baseline, "control")]
    chosen = {name: _OTHERS[k % len(_OTHERS)] for k, name in enumerate(others)}
    return chosen | {baseline: theme.DENSE, "control": theme.CONTROL}
