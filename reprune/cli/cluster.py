"""``submit``, ``schedule``, ``unschedule`` and ``runs``: the loop on a Kubeflow Pipelines server."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprune.cli import terminal
from reprune.cli.options import DEFAULT_STORE, ImageOption, StoreOption

if TYPE_CHECKING:
    from reprune.config.workload import Workload
    from reprune.pipelines.scheduling import Published
    from reprune.pipelines.server import Server

WorkloadArgument = Annotated[str, typer.Argument(help="A shipped workload (digits ...) or a YAML file.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the workload.")]
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        envvar="KF_PIPELINES_ENDPOINT",
        help="URL of Kubeflow Pipelines.",
        metavar="URL",
        show_default=False,
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        help="Profile's namespace, where Kubeflow has several users.",
        metavar="NAME",
        envvar="REPRUNE_NAMESPACE",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (submit, schedule, unschedule, runs):
        app.command()(command)


def submit(
    workload: WorkloadArgument,
    force: Annotated[bool, typer.Option("--force", help="Re-prune even when there is no drift.")] = False,
    beside: Annotated[bool, typer.Option("--beside", help="Start it even if another run is in flight.")] = False,
    store: StoreOption = DEFAULT_STORE,
    image: ImageOption = None,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Start a run on a Kubeflow Pipelines server.

    The pipeline is uploaded if this version of it is not there yet. While a run is in flight, no other is started.

    Exit codes: 0 started, or in flight already; 2 bad input; 6 another version is in flight; 7 the server cannot be
    reached, or refuses.

    Example: reprune submit digits --store s3://models/reprune --host http://localhost:8080
    """
    from reprune.pipelines import scheduling

    server, loaded, published = _publish(workload, store, image, host, namespace, dry_run)
    run = scheduling.submit(server, loaded, published, trigger="force" if force else "schedule", beside=beside)
    typer.echo(f"run {run} of {loaded.name}, version {published.version}")


def schedule(
    workload: WorkloadArgument,
    cron: Annotated[
        str, typer.Option(help="Six fields, seconds first, in UTC: [bold]'0 0 3 * * *'[/bold] is every day at 03:00.")
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of another schedule.")] = False,
    store: StoreOption = DEFAULT_STORE,
    image: ImageOption = None,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Start runs again and again, one at a time, of whatever version of the pipeline is newest then.

    Missed times are not made up for. A schedule that is replaced ends no run in flight.

    Exit codes: 0 scheduled, or so already; 2 bad input; 6 scheduled otherwise; 7 the server cannot be reached, or
    refuses.

    Example: reprune schedule digits --cron "0 0 3 * * *" --store s3://models/reprune
    """
    from datetime import UTC, datetime

    from reprune.steps import cron as crons

    parsed = crons.parse(cron)
    from reprune.pipelines import scheduling

    server, loaded, published = _publish(workload, store, image, host, namespace, dry_run)
    changed = scheduling.schedule(server, loaded, published, parsed, replace=replace)
    state = "would be scheduled" if dry_run and changed else "scheduled" if changed else "scheduled already"
    following = parsed.next_time(datetime.now(UTC))
    typer.echo(f"{loaded.name} {state} at {parsed.text!r}, next {following:%Y-%m-%d %H:%M:%S} UTC")


def unschedule(
    workload: NameArgument, host: HostOption = None, namespace: NamespaceOption = None, dry_run: DryRunOption = False
) -> None:
    """Start no more runs of a workload; one that is in flight goes on.

    Example: reprune unschedule digits
    """
    from reprune.pipelines import scheduling

    ended = scheduling.unschedule(_server(host, namespace, dry_run), workload)
    what = "would not be scheduled any more" if dry_run else "is not scheduled any more"
    typer.echo(f"{workload} {what if ended else 'is not scheduled'}")


def runs(
    workload: NameArgument,
    limit: Annotated[int, typer.Option(min=1, help="Newest runs to show.")] = 20,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
) -> None:
    """List the runs of a workload on the server, newest first, and when it is scheduled.

    Example: reprune runs digits --host http://localhost:8080
    """
    from rich.table import Table

    from reprune.pipelines import scheduling
    from reprune.pipelines.server import name_of

    server = _server(host, namespace, dry_run=True)
    found = scheduling.runs(server, workload)[:limit]
    pipeline_id = server.pipeline(name_of(workload))
    schedules = [it for it in server.schedules(pipeline_id) if it.enabled] if pipeline_id else []
    if as_json:
        document = {"runs": [it.model_dump(mode="json") for it in found], "schedules": [it.cron for it in schedules]}
        typer.echo(json.dumps(document, indent=2))
        return
    console = terminal.console(sys.stdout)
    crons = ", ".join(f"{it.cron!r} (UTC)" for it in schedules)
    console.print(f"{workload} is scheduled at {crons}" if crons else f"{workload} is not scheduled", markup=False)
    if not found:
        console.print(f"No runs yet. Start one: reprune submit {workload}", markup=False)
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("run", "state", "started", "took", "why", "error"):
        table.add_column(heading, overflow="fold")
    for it in found:
        took = f"{(it.finished - it.created).total_seconds() / 60:.0f} min" if it.finished and it.created else ""
        style = {"SUCCEEDED": "green", "FAILED": "red"}.get(it.state, "")
        started = f"{it.created:%Y-%m-%d %H:%M}" if it.created else ""
        why = "schedule" if it.schedule_id else it.name
        table.add_row(it.id, it.state.lower(), started, took, why, it.error, style=style)
    console.print(table)


def _publish(
    workload: str, store: str, image: str | None, host: str | None, namespace: str | None, dry_run: bool
) -> tuple["Server", "Workload", "Published"]:
    from reprune.config import loading

    loaded = loading.load(workload)
    from reprune.pipelines import scheduling

    scheduling.check_store(store)  # before anything is reached
    server = _server(host, namespace, dry_run)
    return server, loaded, scheduling.publish(server, loaded, store=store, image=image)


def _server(host: str | None, namespace: str | None, dry_run: bool) -> "Server":
    from reprune.pipelines.server import Server

    return Server(host, namespace=namespace, dry_run=dry_run, tell=_tell)


def _tell(change: Any) -> None:
    typer.echo(f"  {change}")
