"""All commands together, and what becomes of their errors; nothing heavy is imported before it is needed."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from reprune import __version__
from reprune.cli import (
    advise,
    benchmark,
    cluster,
    drift,
    gate,
    inspect,
    monitor,
    planning,
    profile,
    registry,
    run,
    serving,
    signals,
    workload,
)
from reprune.errors import InputError, RepruneError

app = typer.Typer(
    name="reprune",
    help="Keep neural networks pruned for as long as they are in production.",
    epilog="Start with `reprune run digits`, then `reprune init` for a model of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for group in (
    run,
    workload,
    inspect,
    planning,
    advise,
    benchmark,
    profile,
    gate,
    drift,
    registry,
    cluster,
    serving,
    monitor,
):
    group.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"reprune {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line; every error that reprune raises on purpose is a message and an exit code."""
    signals.listen()
    try:
        app()
    except RepruneError as error:
        _show(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in ("", "reprune"):
            raise
        _show(
            InputError(
                f"This needs {name}, which is not installed here.",
                "The images reprune-runtime and reprune-monitor hold what their own work needs; reprune-train has all.",
            )
        )
        sys.exit(InputError.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


def _show(error: RepruneError) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(error.message))
    if error.remedy:
        console.print(Text("  → ", style="bold") + Text(error.remedy))
