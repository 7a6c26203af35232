"""What is in the registry, who is champion and why, approval, trials, and the way back."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprune.cli import terminal, version_rows
from reprune.cli.options import DEFAULT_STORE, EndpointOption, StoreOption, use_endpoint
from reprune.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from reprune.registry.manifest import Version
    from reprune.registry.registry import Registry
    from reprune.storage.base import Store

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")]
WorkloadArgument = Annotated[str, typer.Argument(help="Name of the workload, as `reprune models` lists it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (models, show, approve, withdraw, rollback):
        app.command()(command)


def models(
    store: StoreOption = DEFAULT_STORE, endpoint_url: EndpointOption = None, as_json: JsonOption = False
) -> None:
    """List the versions of all workloads in a store, and which are champions.

    Example: reprune models --store s3://models/reprune
    """
    from reprune.registry.registry import Registry, workloads

    opened = _open(store, endpoint_url)
    rows = [row for name in workloads(opened) for row in version_rows.describe(Registry(opened, name))]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    console = terminal.console(sys.stdout)
    if not rows:
        console.print(
            f"No models in {opened.uri} yet. Make the first: reprune run digits", soft_wrap=True, markup=False
        )
        return
    table = _table("workload", "version", "state", "published", "size", "why")
    for row in rows:
        size = _size(row["size_bytes"]) if row["size_bytes"] is not None else ""
        style = {"champion": "bold green", "damaged": "red", "gone": "red"}.get(row["state"], "")
        cells = [row["workload"], row["version"][:12], row["state"], _moment(row["published"]), size, row["reason"]]
        table.add_row(*_texts(cells), style=style)
    console.print(table)


def show(
    workload: WorkloadArgument,
    version: Annotated[
        str | None, typer.Argument(help="A version, or its first digits; by default the champion.", show_default=False)
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a version: why it is champion, what it was measured to do, where it comes from, and the history.

    Example: reprune show digits 1f3c09ab
    """
    registry = _registry(_open(store, endpoint_url), workload)
    found = (
        registry.version(version)
        if version
        else registry.with_champion(lambda champion: registry.version(champion.version))
    )
    if found is None:
        raise InputError(
            f"{workload} has no champion yet.",
            f"Name one of its versions: {', '.join(i[:12] for i in registry.ids())}.",
        )
    history = registry.document()
    moves = [move.model_dump(mode="json") for move in history.moves]
    state = version_rows.state(history, found.id)
    if as_json:
        described = found.manifest.model_dump(mode="json") | {"version": found.id, "state": state}
        described["champion"] = state == "champion"
        typer.echo(json.dumps(described | {"size_bytes": found.size_bytes, "history": moves}, indent=2))
        return
    console = terminal.console(sys.stdout)
    _show_version(console, found, state)
    if moves:
        console.print(_history(moves))


def approve(
    workload: WorkloadArgument,
    version: Annotated[
        str | None,
        typer.Argument(help="A version, or its first digits; by default the one that waits.", show_default=False),
    ] = None,
    canary: Annotated[
        int | None,
        typer.Option(
            metavar="PERCENT",
            help="Put it on trial first, for this share of the traffic; 0 is a shadow.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the history.")] = "approved by hand",
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version that the gate let through the champion, or try it out as a canary.

    Refused when the champion is not the one any more that the gate compared it with.

    Example: reprune approve digits 1f3c09ab --canary 10
    """
    from reprune.gate import approval

    registry = _registry(_open(store, endpoint_url), workload)
    if version is None:
        candidates = approval.waiting(registry)
        if len(candidates) != 1:
            there = ", ".join(it.short for it in candidates) or "none"
            raise InputError(
                f"{len(candidates)} versions of {workload} wait for approval: {there}.",
                f"Name one; `reprune models` lists all of {workload}.",
            )
        version = candidates[0].id
    made = approval.approve(registry, version, reason=reason, by=_user(), canary=canary)
    if as_json:
        typer.echo(made.model_dump_json(indent=2))
        return
    console = terminal.console(sys.stdout)
    if canary is None:
        console.print(f"  champion  {workload} {made.short}: {made.reason}", markup=False)
        console.print(f"  undo      reprune rollback {workload}", markup=False)
    else:
        word = f"canary    {workload} {made.short}, {canary} % of the traffic" if canary else f"shadow    {made.short}"
        console.print(f"  {word}: {made.reason}", markup=False)
        console.print(f"  next      reprune approve {workload} {made.short}", markup=False)
        console.print(f"  undo      reprune withdraw {workload}", markup=False)


def withdraw(
    workload: WorkloadArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the history.")] = "withdrawn by hand",
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the trial of a canary; the champion stays.

    Example: reprune withdraw digits --reason "slower on the new nodes"
    """
    registry = _registry(_open(store, endpoint_url), workload)
    ended = registry.withdraw(reason=reason, by=_user())
    if as_json:
        typer.echo(ended.model_dump_json(indent=2))
        return
    terminal.console(sys.stdout).print(f"  withdrawn  {workload} {ended.short}: {reason}", markup=False)


def rollback(
    workload: WorkloadArgument,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="VERSION", help="An earlier champion; by default the one before.", show_default=False
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the history.")] = "rolled back by hand",
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier champion the champion again; each rollback goes one promotion further back.

    Example: reprune rollback digits --reason "wrong on rotated scans"
    """
    registry = _registry(_open(store, endpoint_url), workload)
    before = registry.pointer()
    champion = registry.rollback(to=to, reason=reason, by=_user())
    assert before is not None, "a rollback has something to roll back"
    if as_json:
        typer.echo(json.dumps(champion.model_dump(mode="json") | {"previous": before.version}, indent=2))
        return
    console = terminal.console(sys.stdout)
    console.print(f"  champion  {workload} {champion.short}, was {before.short}: {champion.reason}", markup=False)
    console.print(f"  undo      reprune rollback {workload} --to {before.short}", markup=False)


def _user() -> str:
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        return f"uid {os.getuid()}"


def _open(store: str, endpoint_url: str | None) -> "Store":
    from reprune.storage.uri import open_store

    use_endpoint(endpoint_url)
    opened = open_store(store)
    opened.check()
    return opened


def _registry(store: "Store", workload: str) -> "Registry":
    """Return the registry of a workload that has one.

    Raises:
        InputError: The store knows no such workload.
    """
    from reprune.registry.registry import Registry, workloads

    registry = Registry(store, workload)
    known = workloads(store)
    if workload not in known:
        there = f"It has {', '.join(known)}." if known else "It has none yet: reprune run digits."
        raise InputError(f"{store.uri} has no workload {workload!r}.", there)
    return registry


def _show_version(console: "Console", version: "Version", state: str) -> None:
    from rich.text import Text

    from reprune.cli.summary import show_comparison

    console.print(Text(f"{version.workload} {version.id} ({state})", style="bold"), soft_wrap=True)
    console.print()
    comparison = version.lineage.get("comparison")
    if comparison:
        show_comparison(console, comparison)
        console.print()
    origin = _table("", "")
    for name, value in version.lineage.items():
        if name != "comparison" and isinstance(value, str | int | float):
            origin.add_row(*_texts([name.replace("_", " "), str(value)]))
    if origin.row_count:
        origin.show_header = False
        console.print(origin)
        console.print()
    files = _table("file", "size", "sha256")
    for file in version.files:
        files.add_row(*_texts([file.path, _size(file.size_bytes), file.sha256[:12]]))
    console.print(files)
    console.print()


def _history(moves: list[dict[str, Any]]) -> "Table":
    table = _table("when (UTC)", "move", "version", "by", "why")
    for move in moves:
        action = move["action"] if move["percent"] is None else f"{move['action']}, {move['percent']} %"
        table.add_row(*_texts([_moment(move["at"]), action, move["version"][:12], move["by"], move["reason"]]))
    return table


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), show_edge=False, pad_edge=True, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("version", "champion", "size", "sha256"))
    return table


def _texts(cells: list[str]) -> list[Any]:
    """Return cells as they are: names and reasons come from outside, and brackets in them are no markup."""
    from rich.text import Text

    return [Text(cell) for cell in cells]


def _moment(iso: str) -> str:
    return iso[:19].replace("T", " ")


def _size(size_bytes: int) -> str:
    from reprune.formatting import size

    return size(size_bytes)
