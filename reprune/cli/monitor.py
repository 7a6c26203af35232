"""``monitor``: watch a champion in production; ``retire``: stop showing a workload's metrics."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reprune.cli.cluster import HostOption, NamespaceOption
from reprune.cli.options import DEFAULT_STORE, EndpointOption, StoreOption, use_endpoint
from reprune.errors import InputError

if TYPE_CHECKING:
    from reprune.config.workload import Workload
    from reprune.drift.monitor.retrain_trigger import Launcher

TOKEN = "REPRUNE_MONITOR_TOKEN"
"""Environment variable with the webhook's bearer token, where it is not in a file."""
FOLDER = Path(".reprune") / "monitor"
"""Folder of the logs of local runs that the monitor starts."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(monitor)
    app.command()(retire)


def monitor(
    workload: Annotated[
        str, typer.Argument(help="A shipped workload (digits, breast-cancer, stdlib-text) or a YAML file.")
    ],
    start: Annotated[
        Literal["nothing", "local", "kubeflow"],
        typer.Option(
            "--start",
            help="What a re-prune is: [bold]nothing[/bold] (a dry run that says what would have been started), "
            "[bold]local[/bold] (`reprune run` on this machine), or a [bold]kubeflow[/bold] run.",
            envvar="REPRUNE_MONITOR_START",
        ),
    ] = "nothing",
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="HOST:PORT", help="Where it serves.", envvar="REPRUNE_MONITOR_LISTEN"),
    ] = "127.0.0.1:9469",
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, metavar="SECONDS", help="Time between looks at the store.")
    ] = 60.0,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="File with the bearer token that Alertmanager sends; without one no alert starts anything.",
            envvar="REPRUNE_MONITOR_TOKEN_FILE",
            show_default=False,
        ),
    ] = None,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
) -> None:
    """Watch a champion in production: judge the windows of its prediction log, and re-prune when drift is confirmed.

    Serves a page for people at /, Prometheus metrics at /metrics, /healthz and /readyz, and takes Alertmanager's
    webhook at /alerts. Its state is in the store. Ends with SIGTERM or ctrl-C; a re-prune that it started goes on.

    Example: reprune monitor digits --start local
    """
    from reprune.config import entry_points, loading
    from reprune.storage.uri import open_store

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    address = _address(listen)
    loaded = loading.load(workload)
    use_endpoint(endpoint_url)
    entry_points.use_code(loaded.code)
    store = store if "://" in store else str(Path(store).resolve())
    from reprune.monitoring.monitor import Monitor
    from reprune.monitoring.service import Token, serve

    token = Token(token_file, os.environ.get(TOKEN, ""))
    launcher = _launcher(start, workload, loaded, store, host, namespace)
    serve(Monitor(loaded, open_store(store), launcher), address, token, interval=interval)


def retire(
    workload: Annotated[str, typer.Argument(help="Name of the workload.")],
    pushgateway: Annotated[
        str,
        typer.Option(
            "--pushgateway",
            metavar="HOST:PORT",
            envvar="REPRUNE_PUSHGATEWAY",
            help="The Pushgateway that the runs push to.",
        ),
    ],
) -> None:
    """Delete the metrics of a workload that is not in production any more from the Pushgateway, which forgets nothing.

    Example: reprune retire digits --pushgateway pushgateway:9091
    """
    from reprune.metrics import retract

    retract(workload, pushgateway=pushgateway)
    typer.echo(f"The Pushgateway at {pushgateway} shows nothing of {workload} any more.")


def _address(listen: str) -> tuple[str, int]:
    name, _, port = listen.rpartition(":")
    if not name or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--listen: {listen!r} is no address.", "Write HOST:PORT, as in 127.0.0.1:9469.")
    return name.strip("[]"), int(port)


def _launcher(
    start: str, reference: str, workload: "Workload", store: str, host: str | None, namespace: str | None
) -> "Launcher":
    if start == "kubeflow":
        from reprune.monitoring.kubeflow import Kubeflow

        return Kubeflow(workload.name, host, namespace, workload.cluster.service_account)
    from reprune.monitoring.launchers import DryRun, Local

    return Local(reference, store, FOLDER.resolve()) if start == "local" else DryRun()
