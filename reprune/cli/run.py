"""``run``: the whole loop on this machine."""

import json
import os
import re
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reprune.cli import signals, terminal
from reprune.cli.options import DEFAULT_STORE, EndpointOption, StoreOption, use_endpoint
from reprune.errors import InputError, StepError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from reprune.cli.console import Watch
    from reprune.config.workload import Workload
    from reprune.pipelines.local import Scratch

SCRATCH = Path(".reprune")
"""Folder of the logs and intermediate files of local runs."""


class Runner(StrEnum):
    """Where the steps of a run live."""

    local = "local"
    docker = "docker"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(run)


def run(
    workload: Annotated[
        str, typer.Argument(help="A shipped workload (digits, breast-cancer, stdlib-text) or a YAML file.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Re-prune even when there is no drift.")] = False,
    trigger: Annotated[
        Literal["schedule", "alert"],
        typer.Option(
            "--trigger",
            help="What asks: the [bold]schedule[/bold], and drift decides, or an [bold]alert[/bold], which has.",
        ),
    ] = "schedule",
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            metavar="NAME=WHERE",
            help="Take a split from elsewhere: an .npz file with `inputs` and `targets`, or module:callable.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    runner: Annotated[
        Runner, typer.Option(help="Where steps run: in processes, or each in its container (`make images`).")
    ] = Runner.local,
    image: Annotated[
        str | None,
        typer.Option(
            help="Container image of every step, with --runner docker; by default reprune's.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON in place of tables.")] = False,
) -> None:
    """Run the loop here: validate, detect drift, train, prune, prove, promote.

    Does nothing but look when there is a champion and no drift. A run that was cut short is taken up where it stopped.

    Exit codes: 0 promoted, waiting for approval, or nothing to do; 1 rejected by the gate; 2 bad input; 3 a step
    failed; 4 the store cannot be used; 5 something in the store is damaged; 6 somebody else promoted meanwhile; 130
    interrupted; 143 told to end (SIGTERM). After the last two the same command goes on from there.

    Example with drift: reprune run digits --split production=reprune.workloads.digits.data:rotated
    """
    started = time.perf_counter()
    from reprune.config import loading
    from reprune.storage.uri import open_store

    if image and runner is Runner.local:
        raise InputError(f"--image {image}: without --runner docker there are no containers.", "Add --runner docker.")
    console = terminal.console(sys.stderr if as_json else sys.stdout)
    loaded = loading.load(workload)
    if split:
        loaded = loaded.replace(splits=dict(loaded.splits) | _splits(split))
    use_endpoint(endpoint_url)
    opened = open_store(store)
    store = opened.uri  # absolute, whatever it was
    opened.check(write=True)
    opened.check_conditional_writes()  # told now, not at the promotion
    cause = "force" if force else trigger
    watch, log, run_id = execute(console, loaded, store, _pipeline(loaded, runner, store, cause, image))
    seconds = time.perf_counter() - started
    if watch.failure:
        raise_failure(watch.failure, log)
    from reprune.cli import summary
    from reprune.steps import run_outcome
    from reprune.steps.context import read_records

    records = read_records(opened, loaded.name, run_id) if run_id else {}
    ended = run_outcome.read(records)
    if ended.kind == "failed":
        raise not_started(log)
    if as_json:
        typer.echo(json.dumps(summary.as_json(loaded.name, run_id, ended, records, seconds)))
    else:
        summary.show(console, loaded, run_id, ended, records, store=opened)
        _show_time(console, seconds, watch.work_seconds, log)
    raise typer.Exit(run_outcome.EXIT_CODES[ended.kind])


def _pipeline(
    workload: "Workload", runner: Runner, store: str, trigger: str, image: str | None
) -> "Callable[[Scratch], None]":
    def start(scratch: "Scratch") -> None:
        from reprune.pipelines import local

        if runner is Runner.docker:
            local.run_in_containers(workload, scratch, store=store, trigger=trigger, image=image)
        else:
            local.run(workload, scratch, store=store, trigger=trigger)

    return start


def execute(
    console: "Console", workload: "Workload", store: str, pipeline: "Callable[[Scratch], None]"
) -> tuple["Watch", Path, str]:
    """Run a pipeline under the eyes of the user; returns what was seen, the log, and the run's identifier."""
    from reprune.cli.console import Watch
    from reprune.events import Reader

    console.print(f"[bold]{workload.name}[/bold] → {store}", soft_wrap=True)
    from reprune.pipelines import local

    scratch = local.Scratch(SCRATCH, workload.name)
    watch = Watch(Reader(scratch.events), console)
    try:
        with watch:
            signals.check()
            pipeline(scratch)
            signals.check()
    except SystemExit:  # Ctrl-C, SIGTERM
        console.print(
            f"Interrupted. What was finished is kept: the same command goes on from there. Log: {scratch.log}"
        )
        raise
    scratch.forget_older()
    return watch, scratch.log, watch.run_id


def _splits(given: list[str]) -> dict[str, Any]:
    from reprune.config.workload import SPLITS

    chosen = {}
    for text in given:
        name, equals, where = text.partition("=")
        if not equals or name not in SPLITS or not where:
            raise InputError(
                f"--split: {text!r} is not NAME=WHERE.",
                f"NAME is one of {', '.join(SPLITS)}; WHERE an .npz file or module:callable.",
            )
        chosen[name] = where if ":" in where else str(Path(where).resolve())
    return chosen


def raise_failure(failure: dict[str, Any], log: Path) -> None:
    """Raise the error that a step reported, as the step would have raised it here."""
    error = StepError(f"{failure['step']}: {failure['message']}", f"{failure['remedy']} Log: {log}".strip())
    error.exit_code = failure["exit_code"]
    raise error


def not_started(log: Path) -> StepError:
    """Return the error of a step that failed before it could tell of it."""
    return StepError(f"A step could not be started: {_last_error(log)}", f"The log has the whole traceback: {log}")


def _last_error(log: Path) -> str:
    """Return the last error in a log: that of a step which failed before it could tell of it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next(
        (line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception|Exit)\b", line)), "for no stated reason"
    )


def _show_time(console: "Console", seconds: float, work: float, log: Path) -> None:
    from reprune.formatting import clock

    outside = max(seconds - work, 0.0)
    console.print(
        f"\n[dim]{clock(seconds)} in all, {outside:.1f} s ({outside / seconds:.0%}) of it outside the steps' own work: "
        f"process starts, imports, orchestration. Log: {os.path.relpath(log)}[/dim]",
        soft_wrap=True,
    )
