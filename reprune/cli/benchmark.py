"""``benchmark``: models side by side on this machine."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from reprune.cli import terminal
from reprune.cli.options import DEFAULT_STORE, AllowOption, EndpointOption, StoreOption, use_endpoint
from reprune.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from rich.text import Text

    from reprune.config.target import Target
    from reprune.inference.latency.benchmark import Benchmark

SHORTEST, LONGEST = 0.5, 3600.0


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(benchmark)


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="ONNX files, folders of bundles, or workloads of the store ([bold]digits[/bold] for its champion, "
            "[bold]digits@VERSION[/bold]); the first is what the others are compared with.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads that one inference may use.")] = 1,
    batch: Annotated[
        int | None,
        typer.Option(help="Examples in one inference; by default what the models fix it to, or 1.", show_default=False),
    ] = None,
    provider: Annotated[
        str, typer.Option(help="Execution provider of ONNX Runtime: [bold]cpu[/bold], [bold]cuda[/bold] ...")
    ] = "cpu",
    seconds: Annotated[
        float, typer.Option(help="Time for the rounds; opening and cold starts come on top.", metavar="SECONDS")
    ] = 10.0,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=SHAPE",
            help="Shape of an input, the batch first, as in [bold]ids=1x128[/bold]; where it has free dimensions.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots.", show_default=False)
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="FILE", help="Write every duration, as JSON.", show_default=False),
    ] = None,
    allow: AllowOption = None,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
) -> None:
    """Compare models side by side: latency, throughput, memory, cold start and size.

    The models take turns in one fresh process, and the first one a second time, as a control: a difference that lies
    within the control's spread is not called one.

    Example: reprune benchmark dense.onnx pruned.onnx --batch 32
    """
    if not models:
        raise InputError("There is nothing to benchmark.", "Name at least one model: reprune benchmark A.onnx B.onnx.")
    if not SHORTEST <= seconds <= LONGEST:
        raise InputError(f"--seconds: {seconds:g} is out of range.", f"Give {SHORTEST:g} to {LONGEST:g}.")
    shapes = _shapes(inputs or [])
    for path, option in ((html, "--html"), (samples, "--samples")):
        terminal.check_writable(path, option)
    use_endpoint(endpoint_url)
    from reprune.inference.latency.benchmark import compare
    from reprune.inference.latency.bootstrap import Recording

    with TemporaryDirectory(prefix="reprune-benchmark-") as folder:
        files = _files(models, store, Path(folder), shapes, allow or ())
        target, feeds = _prepare(files, provider, threads, batch, shapes)
        raw = Path(folder) / "samples.npz"
        baseline = next(iter(files))
        with terminal.progress("timing the models in turns") as tell:
            measured = compare(files, feeds, target, baseline=baseline, seconds=seconds, samples=raw, progress=tell)
        if samples is not None:
            samples.write_text(json.dumps(Recording.load(raw).as_json()))
        if html is not None:
            from reprune.report import hardware_pages

            html.write_text(hardware_pages.benchmark(measured, raw))
    if as_json:
        findings = {name: measured.finding(name) for name in files if name != baseline}
        paths = dict(zip(files, models, strict=True))
        typer.echo(json.dumps(measured.model_dump(mode="json") | {"findings": findings, "references": paths}, indent=2))
        return
    _show(terminal.console(sys.stdout), measured)


def _shapes(given: list[str]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for text in given:
        name, equals, dims = text.rpartition("=")
        if not (name and equals and all(dim.isdecimal() and int(dim) > 0 for dim in dims.split("x"))):
            raise InputError(f"--input: {text!r} is not NAME=SHAPE.", "Write it as in input=1x3x224x224.")
        shapes[name] = tuple(map(int, dims.split("x")))
    return shapes


def _files(
    references: Sequence[str], store: str, scratch: Path, shapes: dict[str, tuple[int, ...]], allow: Sequence[str]
) -> dict[str, Path]:
    """Return ONNX files by the names that they have in the table, all different."""
    from reprune.inference.latency.benchmark import CONTROL
    from reprune.inference.model_resolver import onnx_file
    from reprune.storage.uri import open_store

    opened = open_store(store)
    short = [Path(it).name.removesuffix(".onnx") or it for it in references]
    files: dict[str, Path] = {}
    for k, (reference, name) in enumerate(zip(references, short, strict=True)):
        clear = name if short.count(name) == 1 and name != CONTROL else reference
        unique = f"{clear} ({k + 1})" if clear in files or clear == CONTROL else clear
        files[unique] = onnx_file(reference, opened, scratch / str(k), shapes=shapes, allow=allow)
    return files


def _prepare(
    files: dict[str, Path], provider: str, threads: int, batch: int | None, shapes: dict[str, tuple[int, ...]]
) -> tuple["Target", "dict[str, np.ndarray]"]:
    """Return the target, and inputs that every model takes; each model has been opened once."""
    from reprune.config.target import Target, provider_named
    from reprune.inference.latency.graph_inputs import inputs_of, made_up
    from reprune.inference.session import open_session

    for value, option in ((threads, "--threads"), (batch, "--batch")):
        if value is not None and value < 1:
            raise InputError(f"{option}: {value} is less than 1.", "Give 1 or more.")
    target = Target(provider=provider_named(provider), threads=threads).check()
    taken = {name: inputs_of(open_session(path, target)) for name, path in files.items()}
    feeds = made_up(taken, batch_size=batch, shapes=shapes)
    return target.model_copy(update={"batch_size": len(next(iter(feeds.values())))}), feeds


def _show(console: "Console", measured: "Benchmark") -> None:
    from rich.table import Table
    from rich.text import Text

    from reprune import formatting
    from reprune.inference.latency.benchmark import CONTROL

    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("", min_width=12, overflow="fold")
    for heading in ("p50", "p95", "p99", "examples/s", "memory", "cold start", "size", "latency ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, it in measured.models.items():
        peak = "unknown" if it.peak_memory_bytes is None else formatting.size(it.peak_memory_bytes)
        ratio = it.latency_ratio
        table.add_row(
            Text("first again" if name == CONTROL else name),
            *(
                _with_interval(formatting.seconds(at.value), formatting.seconds_interval(at.value, at.low, at.high))
                for at in (it.p50_seconds, it.p95_seconds, it.p99_seconds)
            ),
            f"{it.throughput:,.0f}",
            peak,
            formatting.seconds(it.cold_start_seconds),
            formatting.size(it.size_bytes),
            "1"
            if name == measured.baseline
            else _with_interval(formatting.times(ratio.value), f"{ratio.low:.2f} – {ratio.high:.2f}"),
            style="dim" if name == CONTROL else "",
        )
    console.print(f"[bold]{measured.target.label()}[/bold] on {measured.machine.cpu_model}", soft_wrap=True)
    console.print(table)
    noise = measured.noise
    for name in measured.models:
        if name not in (measured.baseline, CONTROL):
            style = "green" if measured.faster(name) else "red" if measured.slower(name) else "yellow"
            console.print(Text(f"  {name}: ") + Text(measured.finding(name), style=style), soft_wrap=True)
    console.print(
        f"  [dim]control: {measured.baseline} against itself {noise.value:.2f}x ({noise.low:.2f} – {noise.high:.2f}); "
        f"{measured.rounds:,} rounds in {formatting.count(measured.sessions, 'session')}[/dim]",
        soft_wrap=True,
    )
    terminal.warn(console, measured.load.warning())


def _with_interval(value: str, interval: str) -> "Text":
    from rich.text import Text

    return Text(value) + Text(f"\n{interval}", style="dim")
