"""``advise``: which method is worth its trouble for a model on its targets, from measurements made here."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from reprune.cli import terminal
from reprune.cli.options import DEFAULT_STORE, EndpointOption, StoreOption
from reprune.cli.planning import JsonOption, WorkloadArgument, prepared
from reprune.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from reprune.planning.advisor.advise import Advice


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(advise)


def advise(
    workload: WorkloadArgument,
    latency: Annotated[
        str | None,
        typer.Option(metavar="LIMIT", help="Latency allowed; by default the workload's budget.", show_default=False),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="LIMIT", help="Size allowed of the served file.", show_default=False)
    ] = None,
    inferences: Annotated[
        int | None,
        typer.Option(
            help="Inferences you expect to serve before the model is trained anew; a run that they do not pay for is "
            "advised against.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which method suits a model on its targets: channels, heads, 8 bits, zeros, or nothing at all.

    Each method is tried on your own model's graph and timed in turns with the dense one on this machine; nothing is
    trained, so this is about time and size, not accuracy. Measurements are kept in the store.

    Example: reprune advise digits --latency 4ms
    """
    if inferences is not None and inferences < 1:
        raise InputError(f"--inferences: {inferences} is less than 1.", "Give how many you expect to serve.")
    with prepared(workload, {"latency": latency, "size": size}, store, endpoint_url) as (subject, _, opened):
        from reprune.planning.advisor.advise import advise as judge
        from reprune.planning.advisor.facts import gather
        from reprune.planning.advisor.run_cost import last_run_seconds

        cost = last_run_seconds(opened, subject.workload.name)
        found = []
        for target in subject.workload.target:
            with terminal.progress(f"timing each method on {target.label()}") as tell:
                facts = gather(subject, target, opened, tell)
            found.append(judge(facts, subject.workload.budget, run_seconds=cost, inferences=inferences))
    if as_json:
        typer.echo(json.dumps([advice.model_dump(mode="json") for advice in found], indent=2))
        return
    console = terminal.console(sys.stdout)
    for advice in found:
        _show(console, advice)


def _show(console: "Console", advice: "Advice") -> None:
    from rich.table import Table
    from rich.text import Text

    from reprune import formatting

    low, high = advice.control
    console.print(f"[bold]{advice.target}[/bold], dense {formatting.seconds(advice.dense_seconds)}", soft_wrap=True)
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("method", "what was tried"):
        table.add_column(heading, overflow="fold")
    for heading in ("latency", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for row in advice.rows:
        ratio = "–" if row.latency_ratio is None else formatting.times(row.latency_ratio)
        size = "–" if row.size_ratio is None else formatting.times(row.size_ratio)
        table.add_row(row.method, row.effect, Text(ratio, style="green" if row.faster else ""), size, Text(row.reason))
    console.print(table)
    console.print(f"  [dim]control: dense against itself {low:.2f} – {high:.2f}[/dim]")
    expected = advice.expected_ratio
    gain = "" if expected is None else f", {formatting.times(expected)} of the dense latency as measured"
    console.print(Text("  advice: ", style="bold") + Text(f"{advice.answer}{gain}", style="bold green"), soft_wrap=True)
    for reason in advice.reasons:
        console.print(Text(f"    {reason}"), soft_wrap=True)
