"""The pages of a plan and of its pruning: what is kept, what it costs, what it loses, and the plans beside it."""

from collections.abc import Sequence

import numpy as np

from reprune.gate import words
from reprune.planning.front import Alternative
from reprune.planning.plan import Plan
from reprune.report.html import Block, Note, Section, Table, Tile, Tiles, page
from reprune.report.plots import planning, pruning
from reprune.report.plots.pruning import Round


def plan(made: Plan, *, workload: str, origin: str, warning: str = "") -> str:
    """Return the page of a plan.

    Args:
        made: The plan.
        workload: Name of the workload.
        origin: Where the dense weights come from.
        warning: What the reader must know about them.
    """
    return page(f"Plan for {workload}", f"Dense weights: {origin}", _sections(made, warning))


def pruning_rounds(made: Plan, rounds: Sequence[Round], metric: str) -> str:
    """Return the page of the iterative pruner: its rounds, and the plan that they lead to.

    Args:
        made: The plan.
        rounds: What was cut and recovered.
        metric: Name of the score.
    """
    sections = _sections(made)
    if rounds:
        lead = "Each round cuts a part of the way to the planned widths, then recovers."
        sections.insert(0, Section("Rounds", [pruning.rounds(rounds, metric=metric)], lead=lead))
    return page("Pruning", words.count(len(rounds), "round"), sections)


def _sections(made: Plan, warning: str = "") -> list[Section]:
    dense = made.dense_seconds
    told: list[Block] = [Note(warning, "warn")] if warning else []
    tiles = [
        Tile(target, words.times(taken / whole), f"{words.seconds(taken)} of {words.seconds(whole)}, {how}")
        for target, taken, whole, how in zip(
            made.targets, best_known(made), dense, [_how(made)] * len(dense), strict=True
        )
    ]
    if made.size_bytes is not None:
        allowed = "" if made.size_budget_bytes is None else f"{words.size(made.size_budget_bytes)} allowed"
        tiles.append(Tile("size", words.size(made.size_bytes), allowed))
    tiles.append(Tile("rise of the loss", words.plain(made.predicted_loss), "predicted, before any recovery"))
    sections = [Section("The plan", [*told, Tiles(tiles), _latencies(made)])]
    if made.alternatives:
        points = [_point(it, dense) for it in made.alternatives]
        chosen = _point(made, dense)
        allowed_ratio = float(np.min(np.divide(made.budget_seconds, dense)))
        drawn = planning.front(points, chosen, min(allowed_ratio, 1.0))
        sections.append(Section("Alternatives", [drawn, _alternatives(made)], lead="What another budget would buy."))
    widths = {name: (whole, made.widths[name]) for name, whole in made.dense_widths.items()}
    sections.append(Section("Widths", [pruning.widths(widths)]))
    if made.rounds:
        sections.append(Section("How it was found", [_rounds(made)], lead="Solve, measure the whole graph, correct."))
    return sections


def best_known(made: Plan) -> tuple[float, ...]:
    """Return the latency of a plan on each target: measured where it was, in seconds."""
    return made.measured_latency_seconds or made.predicted_latency_seconds


def _how(made: Plan) -> str:
    return "predicted" if made.measured_latency_seconds is None else "measured, untrained"


def _latencies(made: Plan) -> Table:
    measured: Sequence[float | None] = made.measured_latency_seconds or (None,) * len(made.targets)
    columns = (made.targets, made.dense_seconds, made.budget_seconds, made.predicted_latency_seconds, measured)
    return Table(
        headings=("target", "dense", "budget", "predicted", "measured", "ratio"),
        rows=[
            (
                target,
                words.seconds(dense),
                words.seconds(budget),
                words.seconds(predicted),
                "–" if taken is None else words.seconds(taken),
                words.times((taken or predicted) / dense),
            )
            for target, dense, budget, predicted, taken in zip(*columns, strict=True)
        ],
        numeric=(1, 2, 3, 4, 5),
        caption="The graph is measured in turns with the dense one, its weights cut and not trained any further.",
    )


def _alternatives(made: Plan) -> Table:
    rows = []
    for it in made.alternatives:
        point = _point(it, made.dense_seconds)
        measured = point.get("measured_ratio")
        rows.append(
            (
                words.times(point["predicted_ratio"]),
                "–" if measured is None else words.times(measured),
                words.plain(it.predicted_loss),
                "–" if it.size_bytes is None else words.size(it.size_bytes),
                words.percent(sum(it.widths.values()) / sum(made.dense_widths.values())),
            )
        )
    headings = ("latency, predicted", "measured", "rise of the loss", "size", "cells kept")
    return Table(headings=headings, rows=rows, numeric=range(5))


def _rounds(made: Plan) -> Table:
    return Table(
        headings=("round", "predicted", "measured", "error"),
        rows=[
            (
                str(number),
                ", ".join(map(words.seconds, it.predicted_seconds)),
                ", ".join(map(words.seconds, it.measured_seconds)),
                ", ".join(
                    f"{100 * error:+.1f} %" for error in np.divide(it.predicted_seconds, it.measured_seconds) - 1
                ),
            )
            for number, it in enumerate(made.rounds, 1)
        ],
        numeric=(0, 1, 2, 3),
    )


def _point(it: Plan | Alternative, dense: Sequence[float]) -> planning.Point:
    """Return a plan as its plot takes it."""
    measured = it.measured_latency_seconds
    return {
        "predicted_ratio": float(np.max(np.divide(it.predicted_latency_seconds, dense))),
        "measured_ratio": None if measured is None else float(np.max(np.divide(measured, dense))),
        "loss": it.predicted_loss,
    }
