"""How the model was cut: round by round, what each group's width costs, and what was kept."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reprune import formatting
from reprune.report import theme
from reprune.report.html import Figure
from reprune.report.plots.latency import short

MOST_PANELS = 24
MOST_BARS = 60


class Round(TypedDict):
    """One round of the pruner: cut, then recover."""

    round: int
    latency_ratio: float
    loss_before: float
    loss_after: float
    score_before: float
    score_after: float
    recovered: bool
    cost_so_far: float
    parameters: int


class SensitivityPoint(TypedDict):
    """What a group's narrowing to one width does to the loss."""

    width: int
    loss_increase: float
    standard_error: float


def rounds(
    done: Sequence[Round],
    *,
    metric: str,
    allowed_ratio: float | None = None,
    cost_limit: float | None = None,
    percent: bool = True,
) -> Figure:
    """Draw score and loss before and after recovery, latency, and cost, over the rounds.

    Args:
        done: The rounds, in order.
        metric: Name of the mean score.
        allowed_ratio: The budget, as a ratio of dense, where there is one.
        cost_limit: What all recovery may cost, in dense trainings, where that is to be drawn.
        percent: Whether the score is a share.
    """
    assert done, "a pruning without rounds has no curve"
    scale = 100 if percent else 1
    number = [it["round"] for it in done]

    def recovery(axes: Axes, key: str, factor: float) -> None:
        before, after = ([factor * it[f"{key}_{when}"] for it in done] for when in ("before", "after"))  # type: ignore[literal-required]
        axes.vlines(number, before, after, color=theme.CONTROL, linewidth=1.4)
        axes.plot(number, before, "o", color=theme.WARN, markersize=6, label="after the cut")
        axes.plot(number, after, "o-", color=theme.PRUNED, markersize=6, label="after recovery")

    def limit(axes: Axes, value: float | None, name: str) -> None:
        if value is not None:
            axes.axhline(value, color=theme.WARN, linestyle=(0, (4, 2)), linewidth=1.2)
            axes.annotate(name, (number[0], value), xytext=(0, 3), textcoords="offset points", color=theme.WARN)

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(2, 2)
        (score, loss), (latency, cost) = panels
        recovery(score, "score", scale)
        score.set_title(f"validation {metric}{' (%)' if percent else ''}")
        score.legend(loc="best")
        recovery(loss, "loss", 1)
        loss.set_title("validation loss")
        latency.plot(number, [it["latency_ratio"] for it in done], "o-", color=theme.PRUNED, markersize=6)
        limit(latency, allowed_ratio, "budget")
        latency.set_title("latency, as a ratio of dense")
        cost.plot(number, [it["cost_so_far"] for it in done], "o-", color=theme.PRUNED, markersize=6)
        limit(cost, cost_limit, "limit, fine-tuning included")
        cost.set_title("cost so far, in dense trainings")
        for axes in panels.flatten():
            undone = [it["round"] for it in done if not it["recovered"]]
            for at in undone:
                axes.axvspan(at - 0.25, at + 0.25, color=theme.GRID, alpha=0.6, linewidth=0)
            axes.set_xticks(number)
            axes.set_xlim(number[0] - 0.35, number[-1] + 0.35)
            axes.set_xlabel("round")
            theme.bare(axes)
        loss.set_ylim(bottom=0)
        for axes, limited in ((latency, allowed_ratio), (cost, cost_limit)):
            axes.set_ylim(0, 1.15 * max(axes.get_ylim()[1] / 1.05, limited or 0.0))  # room for the name of the limit

    last = done[-1]
    undone = " Shaded rounds did not recover and were taken back." if not all(it["recovered"] for it in done) else ""
    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=5.2),
        alt=f"{formatting.count(len(done), 'pruning round')}, "
        f"ending at {last['latency_ratio']:.2f}x of the dense latency",
        caption=f"{formatting.count(len(done), 'round')}; {last['parameters']:,} parameters are left, at "
        f"{formatting.times(last['latency_ratio'])} of the dense latency.{undone}",
    )


def sensitivity(curves: Mapping[str, Sequence[SensitivityPoint]]) -> Figure:
    """Draw the rise of the loss over each group's width, with its standard error, a panel a group.

    Args:
        curves: Points by group; of very many, the most sensitive groups are drawn.
    """
    points = {name: sorted(curve, key=lambda it: it["width"]) for name, curve in curves.items() if curve}
    worst = sorted(points, key=lambda name: -max(it["loss_increase"] for it in points[name]))[:MOST_PANELS]
    shown = [name for name in points if name in worst]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(rows, columns, squeeze=False, sharey=True).flatten()
        for axes, name in zip(panels, shown, strict=False):
            widths = np.array([it["width"] for it in points[name]])
            rise = np.array([it["loss_increase"] for it in points[name]])
            error = np.array([it["standard_error"] for it in points[name]])
            axes.fill_between(widths, rise - error, rise + error, color=theme.PRUNED, alpha=0.22, linewidth=0)
            axes.plot(widths, rise, "o-", color=theme.PRUNED, markersize=3)
            axes.set_title(short(name))
            theme.bare(axes)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        canvas.supxlabel("width kept", color=theme.MUTED, fontsize=9)
        canvas.supylabel("rise of the loss", color=theme.MUTED, fontsize=9)

    left_out = f" The {len(shown)} most sensitive of {len(points)} groups." if len(shown) < len(points) else ""
    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=1.75 * rows + 0.4),
        alt=f"Sensitivity curves of {formatting.count(len(shown), 'group')}",
        caption=f"One group narrowed at a time, nothing retrained; bands are one standard error.{left_out}",
    )


def widths(groups: Mapping[str, tuple[int, int]]) -> Figure:
    """Draw each group's width before and after.

    Args:
        groups: ``(dense, kept)`` by group; of very many, those that lost most are drawn.
    """
    worst = sorted(groups, key=lambda name: groups[name][1] - groups[name][0])[:MOST_BARS]
    shown = [name for name in groups if name in worst]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        place = np.arange(len(shown))
        axes.barh(place, [groups[name][0] for name in shown], color=theme.GRID, height=0.62, label="dense")
        axes.barh(place, [groups[name][1] for name in shown], color=theme.PRUNED, height=0.62, label="kept")
        for row, name in enumerate(shown):
            dense, kept = groups[name]
            axes.annotate(
                f"{kept} of {dense}",
                (dense, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                color=theme.MUTED,
            )
        axes.set_yticks(place, [short(name, 36) for name in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, max(dense for dense, _ in groups.values()) * 1.12)
        axes.set_xlabel("width (channels, neurons or heads)")
        theme.bare(axes, x_grid=True)

    kept, dense = (sum(pair[i] for pair in groups.values()) for i in (1, 0))
    left_out = f" The {len(shown)} groups of {len(groups)} that lost most." if len(shown) < len(groups) else ""
    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=0.27 * len(shown) + 0.8),
        alt=f"Widths before and after in {formatting.count(len(shown), 'group')}: {kept} of {dense} kept",
        caption=f"What was kept of each group, {formatting.percent(kept / dense)} over all groups.{left_out}",
    )
