"""``sensitivity`` and ``plan``: what narrowing would lose, and what a budget would cost, before anything is pruned."""

import contextlib
import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprune.cli import terminal
from reprune.cli.options import DEFAULT_STORE, EndpointOption, StoreOption, use_endpoint

if TYPE_CHECKING:
    from rich.console import Console

    from reprune.planning.dense_model import Dense
    from reprune.planning.plan import Plan
    from reprune.planning.planning_context import Subject
    from reprune.planning.sensitivity.curves import Sensitivity
    from reprune.storage.base import Store

WorkloadArgument = Annotated[
    str, typer.Argument(help="A shipped workload (digits, breast-cancer, stdlib-text) or a YAML file.")
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")]

SHARES = (3 / 4, 1 / 2, 1 / 4, 1 / 8)
"""Shares of a group's width that the table of sensitivities shows."""

MEASURED_ALTERNATIVES = 3


class Method(StrEnum):
    """How widths are chosen."""

    measured = "measured"
    uniform = "uniform"
    magnitude = "magnitude"
    macs = "macs"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(sensitivity)
    app.command()(plan)


def sensitivity(
    workload: WorkloadArgument,
    html: HtmlOption = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the loss rises as each group of channels narrows, with error bars.

    One group at a time is cut, least important channels first, on examples of the validation split; nothing is trained.
    The dense model is the workload's `weights`, or else what the last `reprune run` trained. Curves are kept in the
    store, and only groups that moved since are measured again.

    Example: reprune sensitivity digits --html sensitivity.html
    """
    terminal.check_writable(html, "--html")
    with prepared(workload, {}, store, endpoint_url) as (subject, dense, opened):
        curves = _curves(subject, dense, opened)
        frozen = [f"{item.what}: {item.reason}" for item in subject.analysis.frozen]
    if html is not None:
        from reprune.report import pages

        html.write_text(pages.sensitivity(curves, frozen, warning=dense.warning))
    if as_json:
        found = {"workload": subject.workload.name, "origin": dense.origin, "trained": dense.trained, "frozen": frozen}
        typer.echo(json.dumps(found | curves.model_dump(mode="json"), indent=2))
        return
    console = terminal.console(sys.stdout)
    _show_origin(console, subject.workload.name, dense)
    _show_curves(console, curves)
    if frozen:
        console.print(f"  [dim]{len(frozen)} dimensions stay whole; --json and --html say why[/dim]")


def plan(
    workload: WorkloadArgument,
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="LIMIT",
            help="Latency allowed on every target: [bold]0.5x[/bold] of dense or [bold]4ms[/bold]; by default the "
            "workload's budget.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="LIMIT",
            help="Size allowed of the served file: [bold]0.5x[/bold] or [bold]20MB[/bold].",
            show_default=False,
        ),
    ] = None,
    accuracy_drop: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Accuracy that may be lost (0.01 is one point). The gate decides that after recovery; it is noted "
            "in the plan's budget.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            help="How widths are chosen: by measured latency, or as others do, to compare: every group alike, by "
            "global magnitude, by multiply-accumulates."
        ),
    ] = Method.measured,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the plan, as JSON.", show_default=False),
    ] = None,
    html: HtmlOption = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a budget would take, before anything is trained or pruned.

    Widths are chosen from latencies measured on this machine, and the whole pruned graph is measured, with its weights
    as they were cut. Profiles are kept in the store. A budget that cannot be held is refused, with the nearest
    that can (exit code 2).

    Example: reprune plan digits --latency 0.4x --size 2MB --html plan.html
    """
    for path, option in ((out, "--out"), (html, "--html")):
        terminal.check_writable(path, option)
    budget = {"latency": latency, "size": size, "accuracy_drop": accuracy_drop}
    with prepared(workload, budget, store, endpoint_url) as (subject, dense, opened):
        made = _make(subject, dense, opened, method)
    described: dict[str, Any] = {"workload": subject.workload.name, "method": method.value, "origin": dense.origin}
    described |= {"trained": dense.trained, "budget": subject.workload.budget.model_dump(mode="json")}
    text = json.dumps(described | made.model_dump(mode="json"), indent=2)
    if out is not None:
        out.write_text(text)
    if html is not None:
        from reprune.report import planning_pages

        html.write_text(
            planning_pages.plan(made, workload=subject.workload.name, origin=dense.origin, warning=dense.warning)
        )
    if as_json:
        typer.echo(text)
        return
    console = terminal.console(sys.stdout)
    _show_origin(console, subject.workload.name, dense)
    _show_plan(console, made, accuracy_drop=subject.workload.budget.accuracy_drop)


@contextlib.contextmanager
def prepared(
    reference: str, budget: dict[str, Any], store: str, endpoint_url: str | None
) -> "Iterator[tuple[Subject, Dense, Store]]":
    """Prepare a workload for planning, with some of its budget replaced; the store is opened, and is writable."""
    from reprune.config import loading

    loaded = loading.load(reference)
    given = {key: value for key, value in budget.items() if value is not None}
    if given:
        loaded = loaded.replace(budget=loaded.budget.model_dump(mode="json") | given)
    use_endpoint(endpoint_url)
    from reprune.storage.uri import open_store

    opened = open_store(store)
    opened.check(write=True)
    from reprune.planning import planning_context as preparing

    with preparing.prepared(loaded, opened) as (subject, dense):
        yield subject, dense, opened


def _curves(subject: "Subject", dense: "Dense", store: "Store") -> "Sensitivity":
    """Return the curves that a run has left of this model, or measure them; those of an untrained one are not kept."""
    from reprune.planning.sensitivity.curve_cache import Memory

    memory = Memory(store, subject.workload.name) if dense.trained else None
    with terminal.progress("measuring sensitivities") as tell:
        return subject.sensitivity(memory, tell)


def _make(subject: "Subject", dense: "Dense", store: "Store", method: Method) -> "Plan":
    with terminal.progress("measuring this machine") as tell:
        tables = subject.tables(store, tell)
    curves = _curves(subject, dense, store)
    with terminal.progress("planning, and measuring the planned graphs") as tell:
        return subject.plan(tables, curves, method=method.value, alternatives=MEASURED_ALTERNATIVES, progress=tell)


def _show_origin(console: "Console", workload: str, dense: "Dense") -> None:
    console.print(f"[bold]{workload}[/bold], dense weights: {dense.origin}", soft_wrap=True)
    terminal.warn(console, dense.warning)


def _show_curves(console: "Console", curves: "Sensitivity") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("group", overflow="fold")
    for heading in ("width", *(f"at {share:.3g}" for share in SHARES)):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, curve in curves.curves.items():
        errors = {point.width: point.standard_error for point in curve.points}
        cells = []
        for share in SHARES:
            width = max(round(share * curve.dense_width), 1)
            error = errors.get(width)
            cells.append(
                Text(f"{curve.loss(width):+.3f}") + Text("" if error is None else f" ± {error:.3f}", style="dim")
            )
        table.add_row(Text(name), str(curve.dense_width), *cells)
    console.print(table)
    console.print(
        f"  [dim]rise of the loss ({curves.dense_loss:.3f} dense, {curves.examples:,} examples) with a share of one "
        "group's width; ± one standard error where measured, else interpolated[/dim]",
        soft_wrap=True,
    )


def _show_plan(console: "Console", made: "Plan", *, accuracy_drop: float) -> None:
    from reprune import formatting

    console.print(_costs(made))
    console.print(_widths(made))
    kept, dense = sum(made.widths.values()), sum(made.dense_widths.values())
    console.print(
        f"  {kept:,} of {dense:,} cells kept ({kept / dense:.0%}); predicted rise of the loss "
        f"{made.predicted_loss:.3f} before any recovery. Whether accuracy drops by no more than "
        f"{formatting.points(accuracy_drop)} points is for the gate to say, after recovery.",
        soft_wrap=True,
    )
    if made.rounds:
        console.print(
            f"  {formatting.count(len(made.rounds), 'round')} of measuring and correcting; the first prediction "
            f"was off by {made.prediction_error:.0%}",
            soft_wrap=True,
        )
    if made.alternatives:
        console.print()
        console.print(_alternatives(made))


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), header_style="dim")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=bool(place))
    return table


def _costs(made: "Plan") -> Any:
    from reprune import formatting

    table = _table("", "dense", "budget", "predicted", "measured", "ratio")
    measured = made.measured_latency_seconds or (None,) * len(made.targets)
    columns = (made.targets, made.dense_seconds, made.budget_seconds, made.predicted_latency_seconds, measured)
    for target, dense, budget, predicted, taken in zip(*columns, strict=True):
        shown = "–" if taken is None else formatting.seconds(taken)
        times = map(formatting.seconds, (dense, budget, predicted))
        table.add_row(target, *times, shown, f"[bold]{formatting.times((taken or predicted) / dense)}[/bold]")
    if made.size_bytes is not None and made.dense_size_bytes is not None:
        allowed = "–" if made.size_budget_bytes is None else formatting.size(made.size_budget_bytes)
        sizes = (formatting.size(made.dense_size_bytes), allowed, formatting.size(made.size_bytes), "–")
        table.add_row("size", *sizes, formatting.times(made.size_bytes / made.dense_size_bytes))
    return table


def _widths(made: "Plan") -> Any:
    from rich.text import Text

    table = _table("group", "dense", "kept", "")
    for name, dense in made.dense_widths.items():
        kept = made.widths[name]
        bar = round(20 * kept / dense)
        table.add_row(Text(name), str(dense), str(kept), Text("█" * bar) + Text("░" * (20 - bar), style="dim"))
    return table


def _alternatives(made: "Plan") -> Any:
    from reprune import formatting

    table = _table("instead", "latency", "measured", "rise of loss", "size")

    def ratio(seconds: tuple[float, ...] | None) -> str:
        if seconds is None:
            return "–"
        return formatting.times(max(taken / dense for taken, dense in zip(seconds, made.dense_seconds, strict=True)))

    for it in made.alternatives[:: max(len(made.alternatives) // 8, 1)]:
        size = "–" if it.size_bytes is None else formatting.size(it.size_bytes)
        table.add_row("", ratio(it.predicted_latency_seconds), ratio(it.measured_latency_seconds),
                      formatting.plain(it.predicted_loss), size)  # fmt: skip
    return table
