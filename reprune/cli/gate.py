"""``gate``: judge a model as the pipeline does, from any CI system."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprune.cli import terminal
from reprune.cli.options import DEFAULT_STORE, AllowOption, EndpointOption, StoreOption, use_endpoint

if TYPE_CHECKING:
    from reprune.config.workload import Evaluation
    from reprune.gate.compare_models import Judgement
    from reprune.gate.verdict import Verdict


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(gate)


def gate(
    candidate: Annotated[str, typer.Option(help="The model to judge: an .onnx file, a bundle, or WORKLOAD@VERSION.")],
    dense: Annotated[str, typer.Option(help="What it is measured against, named likewise.")],
    policy: Annotated[
        str, typer.Option(help="A workload, or a YAML file with its keys data, task, target, budget and gate alone.")
    ],
    champion: Annotated[
        str | None, typer.Option(help="What serves now, if anything, named likewise.", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Time for the interleaved rounds of one target.")] = 8.0,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write JUnit XML, each check a test case.", show_default=False),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append a summary, as for $GITHUB_STEP_SUMMARY.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots.", show_default=False)
    ] = None,
    allow: AllowOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON in place of the table.")] = False,
    store: StoreOption = DEFAULT_STORE,
    endpoint_url: EndpointOption = None,
) -> None:
    """Judge a candidate against the dense model and the champion; for CI.

    The models answer the same test examples and are timed in turns. A drop passes when its confidence bound clears what
    the policy allows, not when the number looks good.

    Exit codes: 0 passed; 1 refused; 2 bad input; 4 the store cannot be used; 5 something in it is damaged.

    Example: reprune gate --candidate pruned.onnx --dense dense.onnx --policy policy.yaml --junit gate.xml
    """
    from tempfile import TemporaryDirectory

    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from reprune.config import loading
    from reprune.storage.uri import open_store

    use_endpoint(endpoint_url)
    for path, option in ((junit, "--junit"), (markdown, "--markdown"), (html, "--html")):
        terminal.check_writable(path, option)
    evaluation = loading.load_evaluation(policy)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with TemporaryDirectory(prefix="reprune-gate-") as scratch:
        with Progress(*columns, console=terminal.console(sys.stderr), transient=True) as shown:
            task = shown.add_task("loading", total=None)
            from reprune.gate import compare_models

            judged = compare_models.gate(
                evaluation,
                dense=dense,
                candidate=candidate,
                champion=champion,
                store=open_store(store),
                scratch=Path(scratch),
                seconds=seconds,
                allow=allow or (),
                progress=lambda doing, share: shown.update(
                    task, description=doing if share is None else f"{doing}: {share:.0%}"
                ),
            )
        _write(judged, evaluation, candidate, junit, markdown, html)
    verdict = judged.verdict
    if as_json:
        typer.echo(verdict.model_dump_json(indent=2))
    else:
        _show(verdict)
    if not verdict.passed:
        raise typer.Exit(1)


def _write(
    judged: "Judgement",
    evaluation: "Evaluation",
    candidate: str,
    junit: Path | None,
    markdown: Path | None,
    html: Path | None,
) -> None:
    verdict = judged.verdict
    if junit:
        from reprune.report.junit import testsuite

        junit.write_text(testsuite(verdict, name=evaluation.name))
    if markdown:
        from reprune.report.markdown import summary

        with markdown.open("a") as file:
            file.write(summary(verdict, title=f"{evaluation.name} {candidate}"))
    if html:
        from reprune.report.report import write_report

        limit, first = evaluation.budget.latency, judged.benchmarks[0]
        write_report(
            html,
            title=evaluation.name,
            subtitle=f"{candidate} · {first.target.label()} · {first.machine.cpu_model}",
            verdict=verdict,
            evidence=judged.evidence,
            recordings=judged.recordings,
            allowed_ratio=limit.value if limit.relative else None,
        )


def _show(verdict: "Verdict") -> None:
    from rich.text import Text

    from reprune.cli.summary import show_checks

    console = terminal.console(sys.stdout)
    show_checks(console, [check.model_dump(mode="json") | {"status": check.outcome} for check in verdict.checks])
    word, style = ("pass", "bold green") if verdict.passed else ("refuse", "bold red")
    console.print(Text(f"  {word:<8}", style=style) + Text(verdict.summary), soft_wrap=True)
