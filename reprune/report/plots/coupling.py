"""How wide a network is along its depth, what is coupled with what, and what stays whole."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from reprune import formatting
from reprune.pruning.graph.analysis import Analysis, Group, Operator
from reprune.report import theme
from reprune.report.html import Figure
from reprune.report.plots.latency import short

COLOURS = {
    "channel": theme.PRUNED,
    "neuron": theme.CHAMPION,
    "head": theme.WARN,
    "kv-head": theme.WARN,
    "embedding": theme.DENSE,
}
MOST_LANES, MOST_LABELS = 48, 64


@dataclass(frozen=True)
class _Lane:
    """A group over the depth of a network: which operators make its slices, and which read them."""

    group: Group
    makes: list[int]
    reads: list[int]

    @property
    def ends(self) -> tuple[int, int]:
        places = self.makes + self.reads
        return min(places), max(places)


def network(analysis: Analysis) -> Figure:
    """Draw every operator with weights in execution order: its width as a bar, and under it what it is coupled with.

    Args:
        analysis: Of the model; its graph has at least one operator with weights.
    """
    operators = analysis.operators
    kinds = {group.name: group.kind for group in analysis.groups}
    lanes = _lanes(analysis)
    shown = sorted(sorted(lanes, key=_length, reverse=True)[:MOST_LANES], key=lambda lane: lane.ends)
    whole = sum(1 for operator in operators if not operator.out_cells)

    def paint(canvas: Canvas) -> None:

        bars, map_ = canvas.subplots(2, 1, sharex=True, height_ratios=(2.3, 0.4 + _height(len(shown))))
        _paint_widths(bars, operators, kinds)
        _paint_lanes(map_, shown, operators)

    left_out = f" The {len(shown)} longest of {len(lanes)} groups are drawn." if len(shown) < len(lanes) else ""
    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=3.0 + _height(len(shown)) + _longest(operators) * 0.055),
        alt=f"Widths of {formatting.count(len(operators), 'operator')} in execution order, {whole} of them left whole, "
        f"and the {formatting.count(len(lanes), 'group')} that couple them",
        caption="Above, the width of what each operator puts out, in execution order; hatched is what stays whole. "
        "Below, a line a group, with its number of cells: filled dots make its slices, open dots read them, and a cut "
        f"takes the same indices from all of them.{left_out}",
    )


def _height(lanes: int) -> float:
    return 0.17 * max(lanes, 1)


def _longest(operators: tuple[Operator, ...]) -> int:
    return max(len(_label(operator)) for operator in operators) if len(operators) <= MOST_LABELS else 4


def _length(lane: _Lane) -> tuple[int, int]:
    start, stop = lane.ends
    return len(lane.makes) + len(lane.reads), stop - start


def _lanes(analysis: Analysis) -> list[_Lane]:
    lanes = []
    for group in analysis.groups:
        makes = [i for i, operator in enumerate(analysis.operators) if group.name in operator.out_cells]
        reads = [i for i, operator in enumerate(analysis.operators) if group.name in operator.in_cells]
        if makes or reads:
            lanes.append(_Lane(group, makes, reads))
    return lanes


def _label(operator: Operator) -> str:
    return short(operator.name.removesuffix(".weight"), 26)


def _width(operator: Operator) -> int:
    return operator.output_shape[1 if operator.kind.startswith("conv") else -1]


def _paint_widths(axes: Axes, operators: tuple[Operator, ...], kinds: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for place, operator in enumerate(operators):
        width = _width(operator)
        names = [kinds[name] for name in operator.out_cells]
        if names:
            colour = COLOURS[names[0]]
            seen[names[0]] = colour
            axes.bar(place, width, color=colour, width=0.72)
        else:
            axes.bar(place, width, facecolor="none", edgecolor=theme.CONTROL, hatch="////", width=0.72, linewidth=0.8)
        if len(operators) <= 32:
            axes.annotate(
                str(width), (place, width), xytext=(0, 2), textcoords="offset points", ha="center", color=theme.MUTED,
                fontsize=7,
            )  # fmt: skip
    handles = [Patch(color=colour, label=f"{kind}s") for kind, colour in seen.items()]
    if any(not operator.out_cells for operator in operators):
        handles.append(Patch(facecolor="none", edgecolor=theme.CONTROL, hatch="////", label="stays whole"))
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(1, 2.6 * max(map(_width, operators)))
    axes.set_ylabel("width")
    axes.legend(handles=handles, loc="upper left", ncols=len(handles), borderaxespad=0.1, handlelength=1.2)
    theme.bare(axes)


def _paint_lanes(axes: Axes, lanes: list[_Lane], operators: tuple[Operator, ...]) -> None:
    for row, lane in enumerate(lanes):
        colour = COLOURS[lane.group.kind]
        start, stop = lane.ends
        axes.plot([start, stop], [row, row], color=colour, linewidth=1.3, alpha=0.55, zorder=1)
        axes.plot(lane.reads, [row] * len(lane.reads), "o", color=theme.PAPER, markersize=4.2, zorder=2)
        axes.plot(
            lane.reads, [row] * len(lane.reads), "o", markerfacecolor="none", markeredgecolor=colour, markersize=4.2,
            markeredgewidth=1.1, zorder=2,
        )  # fmt: skip
        axes.plot(lane.makes, [row] * len(lane.makes), "o", color=colour, markersize=4.2, zorder=3)
        axes.annotate(
            f"{lane.group.width}", (stop, row), xytext=(6, 0), textcoords="offset points", va="center",
            color=theme.MUTED, fontsize=7,
        )  # fmt: skip
    axes.set_yticks(range(len(lanes)), [short(lane.group.name, 30) for lane in lanes], fontsize=7)
    axes.set_ylim(max(len(lanes), 1) - 0.4, -0.7)
    few = len(operators) <= MOST_LABELS
    step = 1 if few else -(-len(operators) // 20)
    places = list(range(0, len(operators), step))
    labels = [_label(operators[place]) if few else str(place) for place in places]
    axes.set_xticks(places, labels, rotation=90 if few else 0, fontsize=7)
    axes.set_xlim(-0.8, len(operators) + 0.3)
    theme.bare(axes, x_grid=True)
