"""The pages of a plan and of its pruning: what is kept, what it costs, what it loses, and the plans beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reprune import formatting
from reprune.config.workload import Workload
from reprune.formatting import clock
from reprune.planning.pareto_front import Alternative
from reprune.planning.plan import Plan
from reprune.pruning.iterative.pruner import Outcome
from reprune.pruning.iterative.rounds import Round
from reprune.report.html import Block, Cell, KeyValues, Note, Section, Table, Tile, Tiles, page
from reprune.report.plots import planning, pruning
from reprune.steps.warm_start import WarmStart


def plan(made: Plan, *, workload: str, origin: str, warning: str = "") -> str:
    """Return the page of a plan.

    Args:
        made: The plan.
        workload: Name of the workload.
        origin: Where the dense weights come from.
        warning: What the reader must know about them.
    """
    return page(f"Plan for {workload}", f"Dense weights: {origin}", _sections(made, warning))


def pruning_rounds(made: Plan | None, outcome: Outcome, warm: WarmStart, metric: str, workload: Workload) -> str:
    """Return the page of the iterative pruner: what was chosen and why, the rounds, and the plan that they lead to.

    Args:
        made: The plan; None where the champion's recipe was replayed.
        outcome: The rounds, and the one that was chosen.
        warm: What became of the champion's recipe.
        metric: Name of the score.
        workload: The workload.
    """
    chosen, budget = outcome.chosen, workload.budget.latency
    good = chosen.holds and chosen.recovered
    spent = outcome.rounds[-1].cost_so_far + (0.0 if warm.accepted else warm.cost)
    tiles = [
        Tile("latency", formatting.times(chosen.latency_ratio), f"budget {budget.text}"),
        Tile(
            metric,
            formatting.percent(chosen.score_after),
            f"{formatting.points(chosen.drop)} points below dense, validation",
        ),
        Tile("parameters", f"{chosen.parameters:,}", formatting.size(chosen.size_bytes)),
        Tile("cost", f"{spent:.2f}", f"dense trainings, of {workload.prune.cost_limit:g} allowed with fine-tuning"),
    ]
    drawn: Any = [it.model_dump() for it in outcome.rounds]
    figure = pruning.rounds(
        drawn,
        metric=metric,
        allowed_ratio=budget.value if budget.relative else None,
        cost_limit=workload.prune.cost_limit,
    )
    sections = [
        Section("Chosen", [Note(outcome.reason, "good" if good else "warn"), Tiles(tiles)]),
        Section("Rounds", [figure, _rounds_table(outcome, metric)], lead="Cut a part of the way, recover, measure."),
        _warm_start(warm),
        *(_sections(made) if made else ()),
    ]
    return page("Pruning", formatting.count(len(outcome.rounds), "round"), sections)


def _rounds_table(outcome: Outcome, metric: str) -> Table:
    def row(it: Round) -> tuple[str | Cell, ...]:
        kept = f"{sum(it.widths.values()):,}"
        chosen = Cell(str(it.round), "good", "chosen") if it is outcome.chosen else str(it.round)
        after = formatting.percent(it.score_after)
        return (
            chosen,
            kept,
            formatting.times(it.latency_ratio),
            f"{formatting.plain(it.loss_before)} → {formatting.plain(it.loss_after)}",
            formatting.percent(it.score_before),
            after if it.recovered else Cell(after, "warn", "taken back"),
            str(it.epochs),
            f"{it.cost_so_far:.2f}",
            clock(it.seconds),
        )

    return Table(
        headings=(
            "round",
            "channels",
            "latency",
            "loss",
            f"{metric} after the cut",
            "after recovery",
            "epochs",
            "cost so far",
            "time",
        ),
        rows=[row(it) for it in outcome.rounds],
        numeric=range(1, 9),
        caption="Loss and score are of the validation split. Cost is in dense trainings by multiply-accumulates: three "
        "forward passes an example, and one of the teacher's; saliency and validation are not counted.",
    )


def _warm_start(warm: WarmStart) -> Section:
    blocks: list[Block] = [Note(_sentence(warm.reason) + ".", "good" if warm.accepted else "plain")]
    if warm.begun:
        blocks.append(Note(_sentence(warm.begun) + "."))
    if warm.former_cost:
        names = {name: f"{cost:.2f} dense trainings" for name, cost in warm.former_cost.items()}
        blocks.append(KeyValues({f"the champion's cycle · {name}": cost for name, cost in names.items()}))
    if warm.overlap:
        rows = [("all groups", warm.overlap.overall), *warm.overlap.groups.items()]
        blocks.append(
            Table(
                headings=("group", "overlap"),
                rows=[(name, formatting.percent(share)) for name, share in rows],
                numeric=(1,),
                caption="Channels that the champion's recipe and today's saliency both keep at its widths, of those "
                f"that either keeps; channels picked at random would give {formatting.percent(warm.overlap.chance)}.",
            )
        )
    return Section("Warm start", blocks, lead="Whether the champion's cut still serves.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sections(made: Plan, warning: str = "") -> list[Section]:
    dense = made.dense_seconds
    told: list[Block] = [Note(warning, "warn")] if warning else []
    tiles = [
        Tile(
            target,
            formatting.times(taken / whole),
            f"{formatting.seconds(taken)} of {formatting.seconds(whole)}, {how}",
        )
        for target, taken, whole, how in zip(
            made.targets, best_known(made), dense, [_how(made)] * len(dense), strict=True
        )
    ]
    if made.size_bytes is not None:
        allowed = "" if made.size_budget_bytes is None else f"{formatting.size(made.size_budget_bytes)} allowed"
        tiles.append(Tile("size", formatting.size(made.size_bytes), allowed))
    tiles.append(Tile("rise of the loss", formatting.plain(made.predicted_loss), "predicted, before any recovery"))
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
                formatting.seconds(dense),
                formatting.seconds(budget),
                formatting.seconds(predicted),
                "–" if taken is None else formatting.seconds(taken),
                formatting.times((taken or predicted) / dense),
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
                formatting.times(point["predicted_ratio"]),
                "–" if measured is None else formatting.times(measured),
                formatting.plain(it.predicted_loss),
                "–" if it.size_bytes is None else formatting.size(it.size_bytes),
                formatting.percent(sum(it.widths.values()) / sum(made.dense_widths.values())),
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
                ", ".join(map(formatting.seconds, it.predicted_seconds)),
                ", ".join(map(formatting.seconds, it.measured_seconds)),
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
