"""What a plan costs and what it loses, beside the plans that were not chosen."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
from matplotlib.figure import Figure as Canvas

from reprune import formatting
from reprune.report import theme
from reprune.report.html import Figure


class Point(TypedDict):
    """A plan: its latency as a ratio of dense, the largest over the targets, and its predicted rise of the loss."""

    predicted_ratio: float
    measured_ratio: NotRequired[float | None]
    loss: float


def front(points: Sequence[Point], chosen: Point, allowed_ratio: float) -> Figure:
    """Draw predicted loss over latency, the chosen plan among them, and how far measurements are from predictions.

    Args:
        points: The front, from fast to slow.
        chosen: The plan.
        allowed_ratio: The budget.
    """

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.axvspan(0, allowed_ratio, color=theme.GRID, alpha=0.5, linewidth=0)
        axes.axvline(allowed_ratio, color=theme.WARN, linestyle=(0, (4, 2)), linewidth=1.2)
        ratios, losses = [it["predicted_ratio"] for it in points], [it["loss"] for it in points]
        axes.plot(ratios, losses, "o-", color=theme.DENSE, markersize=4, label="predicted")
        timed = [(it["predicted_ratio"], it.get("measured_ratio"), it["loss"]) for it in points]
        for predicted, measured, loss in timed:
            if measured is not None:
                axes.plot([predicted, measured], [loss, loss], color=theme.CONTROL, linewidth=1)
        known = [(measured, loss) for _, measured, loss in timed if measured is not None]
        if known:
            axes.plot(*np.transpose(known), "s", color=theme.CHAMPION, markersize=5, label="measured, untrained")
        place = chosen.get("measured_ratio") or chosen["predicted_ratio"]
        axes.plot(place, chosen["loss"], "D", color=theme.PRUNED, markersize=9, label="the plan")
        axes.annotate(
            "budget", (allowed_ratio, 1), xytext=(4, -10), textcoords="offset points", color=theme.WARN,
            xycoords=("data", "axes fraction"),
        )  # fmt: skip
        axes.set(xlabel="latency, as a ratio of dense (slowest target)", ylabel="predicted rise of the loss")
        axes.set_xlim(0, 1.05)
        least = min((loss for loss in losses if loss > 0), default=1e-3)
        axes.set_yscale("symlog", linthresh=max(least, max(losses, default=1.0) * 1e-3, 1e-6))
        axes.set_ylim(0, 2 * max(*losses, chosen["loss"], 1e-6))
        axes.legend(loc="upper right")
        theme.bare(axes)

    return Figure(
        svg=theme.draw(paint, width=theme.WIDE, height=3.8),
        alt=f"{formatting.count(len(points), 'plan')}, the fastest at "
        f"{formatting.times(points[0]['predicted_ratio'])} of dense",
        caption="Every point is a plan that no other betters in both; the loss is before any recovery. Lines lead from "
        "what was predicted to what was measured; the shaded side holds the budget.",
    )
