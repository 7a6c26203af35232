"""``follow`` and ``deploy``: the champion reaches what serves it."""

import signal
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from reprune.cli.cluster import DryRunOption
from reprune.cli.options import DEFAULT_STORE, EndpointOption, StoreOption, use_endpoint
from reprune.errors import InputError

NameArgument = Annotated[str, typer.Argument(help="Name of the workload.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (follow, deploy):
        app.command()(command)


def follow(
    workload: NameArgument,
    folder: Annotated[Path, typer.Argument(help="Folder; its link [bold]current[/bold] leads to the champion.")],
    once: Annotated[bool, typer.Option("--once", help="Bring the champion and end, as init containers do.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time between two looks.")] = 30.0,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="File of the version; may be repeated. By default all.", show_default=False),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Told of each new champion by a POST, to reload.", show_default=False),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
) -> None:
    """Keep a folder at the champion: fetch, verify every digest, then move one link.

    Run it beside the server, in a container of its own or as a service. While the store cannot be reached, or a file
    is damaged, the folder goes on holding what it holds.

    Example: reprune follow digits /models --only model.onnx --store s3://models/reprune
    """
    import logging

    from reprune.inference.champion_sync import Follower
    from reprune.registry.registry import Registry
    from reprune.storage.uri import open_store

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    use_endpoint(endpoint_url)
    follower = Follower(Registry(open_store(store), workload), folder, only=only, notify=notify)
    follower.update()
    if once:
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    follower.watch(interval, stop)


def deploy(
    workload: NameArgument,
    name: Annotated[
        str | None, typer.Option(help="InferenceService; by default named like the workload.", show_default=False)
    ] = None,
    namespace: Annotated[str, typer.Option(help="Its namespace.")] = "default",
    canary: Annotated[
        int | None,
        typer.Option(min=0, max=99, metavar="PERCENT", help="Share of the traffic, first.", show_default=False),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Version; by default the canary or the champion.", show_default=False)
    ] = None,
    mode: Annotated[
        Literal["Standard", "Knative"], typer.Option(help="How KServe deploys one that is created.")
    ] = "Standard",
    runtime: Annotated[
        str | None, typer.Option(help="ServingRuntime; by default KServe's choice for ONNX.", show_default=False)
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="ServiceAccount with access to the store.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Time to become ready.")] = 600.0,
    dry_run: DryRunOption = False,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
) -> None:
    """Let a KServe InferenceService serve the champion; what does not become ready is put back.

    With --canary it serves the registry's canary, or --version, to a share of the traffic; without, the champion to
    all, which also ends a trial.

    Exit codes: 0 served, or served already; 2 bad input; 7 the cluster cannot be reached or refuses, or the model did
    not become ready and what was served before is put back.

    Example: reprune deploy digits --canary 10 --namespace serving --store s3://models/reprune
    """
    from reprune.registry.registry import Registry
    from reprune.storage.uri import open_store

    use_endpoint(endpoint_url)
    opened = open_store(store)
    if not opened.uri.startswith("s3://"):
        raise InputError(f"--store: {store!r} is a folder, which a cluster does not reach.", "Use s3://bucket/prefix.")
    registry = Registry(opened, workload)
    chosen = registry.version(version) if version else _standing(registry, canary is not None)
    from reprune.pipelines import kserve

    service = name or workload
    changed = kserve.deploy(
        kserve.inference_services(namespace, dry_run=dry_run, tell=lambda change: typer.echo(f"  {change}")),
        service,
        registry.files_uri(chosen),
        chosen.id,
        canary=canary,
        mode=mode,
        runtime=runtime,
        account=service_account,
        timeout=timeout,
    )
    word = "would be served" if dry_run and changed else "is served" if changed else "is served already"
    typer.echo(f"{workload} {chosen.short} {word} by {namespace}/{service}")


def _standing(registry: Any, trial: bool) -> Any:
    if trial:
        canary = registry.canary()
        version = registry.version(canary.version) if canary else None
    else:
        version = registry.with_champion(lambda champion: registry.version(champion.version))
    if version is None:
        what, command = ("canary", "approve --canary") if trial else ("champion", "run")
        raise InputError(
            f"{registry.workload} has no {what} in {registry.store.uri}.", f"See reprune {command} --help."
        )
    return version
