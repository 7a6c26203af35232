"""``profile``: what each operator of a workload's model costs on this machine, over its widths."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprune.cli import terminal
from reprune.cli.options import DEFAULT_STORE, EndpointOption, StoreOption, TargetOption, targets, use_endpoint
from reprune.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from reprune.config.workload import Workload
    from reprune.inference.latency.profile_store import Profiled

MOST_ROWS = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(profile)


def profile(
    workload: Annotated[str, typer.Argument(help="A shipped workload (digits ...) or a YAML file.")],
    target: TargetOption = None,
    seconds: Annotated[float, typer.Option(help="Time to spend on what is new, a target.", metavar="SECONDS")] = 20.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what the store holds.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots.", show_default=False)
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
) -> None:
    """Measure this machine: the latency of each prunable operator over the widths it could have.

    What the store holds of this very machine, ONNX Runtime build, threads and batch is used again. Run it on the
    machine that serves the model.

    Example: reprune profile digits --target threads=1,batch_size=32
    """
    if not 0.5 <= seconds <= 3600:
        raise InputError(f"--seconds: {seconds:g} is out of range.", "Give 0.5 to 3600.")
    terminal.check_writable(html, "--html")
    from reprune.config import loading
    from reprune.storage.uri import open_store

    loaded = loading.load(workload)
    chosen = [it.check() for it in targets(target, loaded.target)]
    use_endpoint(endpoint_url)
    opened = open_store(store)
    opened.check(write=True)
    from reprune.inference.latency import profile_store

    found = []
    for where in chosen:
        operators = _operators(loaded, where.batch_size)
        with terminal.progress(f"measuring on {where.label()}") as tell:
            found.append(profile_store.complete(opened, operators, where, seconds=seconds, fresh=fresh, progress=tell))
    if html is not None:
        from reprune.report import hardware_pages

        html.write_text(hardware_pages.profile(found))
    if as_json:
        typer.echo(json.dumps([_as_json(it) for it in found], indent=2))
        return
    console = terminal.console(sys.stdout)
    for it in found:
        _show(console, it)


def _operators(workload: "Workload", batch_size: int) -> Any:
    """Return the operators of a workload's dense model; their latency does not depend on its weights."""
    from reprune.config import entry_points
    from reprune.data.datasets import Data
    from reprune.pruning import bundle
    from reprune.pruning.graph.analyze import analyze

    entry_points.use_code(workload.code)
    model = bundle.build(workload.model, key="model")
    operators = analyze(model, Data(workload).example(batch_size=batch_size)).operators
    if not operators:
        raise InputError(f"{workload.name} has no operator that could be pruned.", "There is nothing to profile.")
    return operators


def _as_json(found: "Profiled") -> dict[str, Any]:
    from reprune.inference.latency.profile_summary import by_kind, summarize

    summaries = summarize(found.asked)
    operators = [it.model_dump() | {"latencies": found.table.operators[it.operator].points} for it in summaries]
    return {
        "key": found.key,
        "target": found.table.target.model_dump(),
        "machine": found.model_dump(mode="json", include={"table": {"machine"}})["table"]["machine"],
        "overhead_seconds": found.table.overhead_seconds,
        "kinds": [it.model_dump() for it in by_kind(summaries)],
        "operators": operators,
        **found.model_dump(mode="json", include={"reused", "measured", "seconds", "load", "discarded"}),
    }


def _show(console: "Console", found: "Profiled") -> None:
    from rich.table import Table
    from rich.text import Text

    from reprune import formatting
    from reprune.inference.latency.profile_summary import by_kind, summarize

    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("operator", overflow="fold")
    for heading in ("widest", "latency", "fixed", "block in", "block out", "known", "new"):
        table.add_column(heading, justify="right", no_wrap=True)
    summaries = summarize(found.asked)
    for it in summaries[:MOST_ROWS]:
        table.add_row(
            Text(it.operator),
            f"{it.in_width} → {it.out_width}",
            formatting.seconds(it.seconds),
            formatting.seconds(it.fixed_seconds),
            str(it.input.block),
            str(it.output.block),
            f"{found.reused[it.operator]:,}",
            f"{found.measured[it.operator]:,}",
        )
    machine = found.table.machine
    assert machine is not None, "a profile is of this machine"
    console.print(f"[bold]{found.table.target.label()}[/bold] on {machine.cpu_model}", soft_wrap=True)
    console.print(Text(f"  {' '.join(machine.instruction_sets)}; {machine.runtime}", style="dim"), soft_wrap=True)
    console.print(table)
    if len(summaries) > MOST_ROWS:
        console.print(f"  [dim]and {len(summaries) - MOST_ROWS} faster operators; --json has all[/dim]")
    for kind in by_kind(summaries):
        console.print(f"  {kind.text()}")
    known, new = sum(found.reused.values()), sum(found.measured.values())
    console.print(
        f"  {known + new:,} latencies, {known:,} of them known, {new:,} measured in {found.seconds:.1f} s; "
        f"a call costs {formatting.seconds(found.table.overhead_seconds)}"
    )
    console.print(Text(f"  kept as {found.key}", style="dim"), soft_wrap=True)
    terminal.warn(console, found.discarded)
    terminal.warn(console, found.load.warning())
