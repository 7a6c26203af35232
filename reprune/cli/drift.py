"""``drift`` and ``reference``: whether data still looks like what it is compared with."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprune.cli import terminal
from reprune.cli.options import (
    DEFAULT_SHARDS,
    DEFAULT_STORE,
    EndpointOption,
    LogOption,
    ShardsOption,
    StoreOption,
    use_endpoint,
)
from reprune.errors import InputError

if TYPE_CHECKING:
    from reprune.config.drift import DriftPolicy
    from reprune.drift.compare_files import Comparison
    from reprune.drift.drift_report import DriftReport

ROWS = 10
"""Tests that the table shows."""

IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="A column to leave out; may be repeated.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(drift)
    app.command()(reference)


def drift(
    workload: Annotated[
        str | None,
        typer.Argument(help="A workload, whose production split is compared with its champion's reference."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="What the window should look like: a file of data, a reference written by `reprune reference`, or "
            "WORKLOAD or WORKLOAD@VERSION of the store.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="FILE_OR_URI", help="A Parquet, CSV or NPZ file, or a folder of them.", show_default=False
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=0.2,
            help="Chance of an alarm while nothing drifted; by default the workload's, or 0.01.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP",
            help="Compare only inputs, predictions, embeddings, quality or labels; may be repeated.",
            show_default=False,
        ),
    ] = None,
    ignore: IgnoreOption = None,
    log: LogOption = None,
    shards: ShardsOption = DEFAULT_SHARDS,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the distributions.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON in place of the table.")] = False,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
) -> None:
    """Say whether a window of data still looks like its reference, what moved, and by how much.

    An alarm has the stated false-alarm rate over all columns together, at any number of rows. Data is read in bounded
    memory.

    Exit codes: 0 no drift, or too few rows to say; 1 drift; 2 bad input; 4 the store cannot be used; 5 something in it
    is damaged.

    With --log, Kubeflow Pipelines' local runner does it, two shards at a time; `reprune compile --log` writes the same
    pipeline for a cluster.

    Example: reprune drift --reference train.parquet --window monday.csv --html drift.html
    """
    from tempfile import TemporaryDirectory

    use_endpoint(endpoint_url)
    terminal.check_writable(html, "--html")
    with TemporaryDirectory(prefix="reprune-drift-") as scratch:
        if reference is not None and window is not None and workload is None and log is None:
            compared = _files(reference, window, _policy(false_alarm_rate, watch), ignore or [], store, Path(scratch))
        elif workload is not None and log is not None and reference is None and window is None and not ignore:
            compared = _log(workload, log, shards, false_alarm_rate, watch, store)
        elif workload is not None and reference is None and log is None and not ignore:
            compared = _production(workload, window, false_alarm_rate, watch, store, Path(scratch))
        else:
            raise InputError(
                "drift compares either --reference with --window, or a workload's production data with its champion.",
                "Give --reference and --window; or a workload, alone or with either --window (an .npz file) or --log.",
            )
    if html is not None:
        from reprune.report.drift_page import render_report

        html.write_text(render_report(compared.report, f"{compared.window} against {compared.reference}"))
    if as_json:
        found = {"reference": compared.reference, "window": compared.window}
        typer.echo(json.dumps(found | compared.report.model_dump(mode="json"), indent=2))
    else:
        _show(compared.report)
    if compared.report.drifted:
        raise typer.Exit(1)


def reference(
    data: Annotated[str, typer.Argument(help="A Parquet, CSV or NPZ file, or a folder of them; here or on S3.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write it; ends in .safetensors.")],
    ignore: IgnoreOption = None,
    endpoint_url: EndpointOption = None,
) -> None:
    """Freeze what windows are compared with: summaries of a data set, and at most 2,000 of its rows.

    Example: reprune reference train.parquet --out reference.safetensors
    """
    from tempfile import TemporaryDirectory

    from reprune.drift import summary_file, window_reader

    use_endpoint(endpoint_url)
    terminal.check_writable(out, "--out")
    if out.suffix != ".safetensors":
        raise InputError(
            f"--out: {out} does not end in .safetensors.", "References are told from data by their suffix."
        )
    with TemporaryDirectory(prefix="reprune-drift-") as scratch:
        summary = window_reader.summarize_reference(window_reader.find(data, Path(scratch)), ignore=ignore or [])
    summary_file.save(summary, out)
    typer.echo(f"  {out}: {summary.rows:,} rows, {len(summary.frame.fields)} columns")


def _policy(rate: float | None, watch: list[str] | None, base: "DriftPolicy | None" = None) -> "DriftPolicy":
    from typing import get_args

    from reprune.config.drift import DriftPolicy, Group

    groups = get_args(Group)
    unknown = [name for name in watch or [] if name not in groups]
    if unknown:
        raise InputError(f"--watch: there is no group {unknown[0]!r}.", f"Give one of {', '.join(groups)}.")
    policy = base or DriftPolicy(watch=groups)
    changes = {"watch": tuple(watch)} if watch else {}
    return policy.model_copy(update=changes | ({"false_alarm_rate": rate} if rate is not None else {}))


def _files(
    reference: str, window: str, policy: "DriftPolicy", ignore: list[str], store: str, scratch: Path
) -> "Comparison":
    from reprune.drift import compare_files
    from reprune.storage.uri import open_store

    return compare_files.compare(reference, window, policy, store=open_store(store), scratch=scratch, ignore=ignore)


def _production(
    name: str, window: str | None, rate: float | None, watch: list[str] | None, store: str, scratch: Path
) -> "Comparison":
    from reprune.config import loading
    from reprune.drift import compare_files
    from reprune.storage.uri import open_store

    loaded = loading.load(name)
    policy = _policy(rate, watch, loaded.drift)
    return compare_files.compare_production(loaded, policy, store=open_store(store), scratch=scratch, window=window)


def _log(name: str, log: str, shards: int, rate: float | None, watch: list[str] | None, store: str) -> "Comparison":
    from reprune.cli.run import execute, not_started, raise_failure
    from reprune.config import loading
    from reprune.drift.compare_files import Comparison
    from reprune.drift.drift_report import DriftReport
    from reprune.inference.champion import champion
    from reprune.pipelines import local
    from reprune.steps.context import read_records
    from reprune.storage.uri import open_store

    loaded = loading.load(name)
    loaded = loaded.model_copy(update={"drift": _policy(rate, watch, loaded.drift)})
    opened, where = open_store(store), log if "://" in log else str(Path(log).resolve())
    champion(loaded.name, opened.uri)  # told now, not by every shard
    watched, file, run = execute(
        terminal.console(sys.stderr),
        loaded,
        opened.uri,
        lambda scratch: local.judge_log(loaded, scratch, store=opened.uri, log=where, shards=shards),
    )
    if watched.failure:
        raise_failure(watched.failure, file)
    judged = read_records(opened, loaded.name, run).get("judge_shards") if run else None
    if judged is None:
        raise not_started(file)
    return Comparison(f"{loaded.name}'s champion", log, DriftReport.model_validate(judged["report"]))


def _show(report: "DriftReport") -> None:
    from rich.table import Table
    from rich.text import Text

    console = terminal.console(sys.stdout)
    if report.tests:
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        table.add_column("  what", no_wrap=True)
        table.add_column("test", no_wrap=True)
        for heading in ("statistic", "threshold", "p of all", "shift", "PSI", "Wasserstein", "missing"):
            table.add_column(heading, justify="right", no_wrap=True)
        for test in report.tests[:ROWS]:
            effect = test.effect
            table.add_row(
                Text(f"  {test.name}", style="yellow" if test.alarm else ""),
                test.method,
                f"{test.statistic:.3g}",
                f"{test.threshold:.3g}",
                f"{test.adjusted_p_value:.2g}",
                f"{effect.shift:+.2f} sd" if effect and effect.shift is not None else "",
                f"{effect.psi:.3f}" if effect else "",
                f"{effect.wasserstein:.2f} sd" if effect and effect.wasserstein is not None else "",
                f"{effect.missing[0]:.1%} → {effect.missing[1]:.1%}" if effect and any(effect.missing) else "",
            )
        console.print(table)
        if len(report.tests) > ROWS:
            console.print(f"  [dim]{len(report.tests) - ROWS} more tests: --json and --html have them[/dim]")
        console.print()
    if report.quality is not None:
        found = report.quality
        low, high = found.estimated_interval
        console.print(
            f"  accuracy: {found.reference:.1%} on the reference; {found.estimated:.1%} ({low:.1%} to {high:.1%}) "
            "estimated from confidence"
            + (f"; {found.actual:.1%} of {found.labelled:,} with labels" if found.actual is not None else ""),
            soft_wrap=True,
        )
        if found.agrees is False:
            terminal.warn(console, "the labels say otherwise than the estimate: the model errs in new ways")
    for note in report.notes:
        terminal.warn(console, note)
    style = {"drift": "bold yellow", "no drift": "bold green", "inconclusive": "bold"}[report.verdict]
    verdict, _, rest = report.summary.partition(":")
    console.print(Text(f"  {verdict}:", style=style) + Text(rest), soft_wrap=True)
