"""``inspect``: what of a model can be cut, what is coupled with what, and what stays whole and why."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprune.cli import terminal
from reprune.cli.options import AllowOption
from reprune.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor, nn

    from reprune.pruning.graph.analysis import Analysis
    from reprune.pruning.graph.counts import Counts

_INPUT = re.compile(r"^(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<type>\w+))?$")
TYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "bool")


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(inspect)


def inspect(
    model: Annotated[
        str,
        typer.Argument(help="A workload (digits, or a YAML file), the folder of a bundle, or module:callable."),
    ],
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SHAPE",
            help="Shape of an input, such as 1x3x224x224; 1x128:int64 for another type; name=SHAPE for a keyword. "
            "Repeat it for several. A workload brings its own.",
            show_default=False,
        ),
    ] = None,
    arguments: Annotated[
        str | None,
        typer.Option("--arguments", metavar="JSON", help="Keyword arguments of the callable.", show_default=False),
    ] = None,
    allow: AllowOption = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with a picture.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
) -> None:
    """Show what of a model can be cut, what is coupled with what, and what stays whole and why.

    Nothing is trained or changed. Integer inputs are zeros and ones.

    Example: reprune inspect digits --html digits.html

    Example: reprune inspect my_project.models:Net --input 1x3x224x224 --arguments '{"num_classes": 10}'
    """
    inputs = _inputs(shapes or [])
    module, example = _resolve(model, inputs, arguments, allow or [])
    from reprune.pruning.graph.analyze import analyze
    from reprune.pruning.graph.counts import counts

    analysis = analyze(module, example)
    cost = counts(analysis)
    if html is not None:
        from reprune.report import inspection_page

        _write(html, inspection_page.render(model, analysis, _described(example)))
    if as_json:
        typer.echo(json.dumps(_as_json(model, analysis, cost), indent=2))
        return
    console = terminal.console(sys.stdout)
    _show(console, analysis, cost, _described(example))
    if html is not None:
        console.print(f"\nWrote {html}.", markup=False, soft_wrap=True)


def _inputs(given: list[str]) -> Any:
    """Return random inputs of the shapes: a tuple, a dict where they are named, or None where there are none."""
    import torch

    made: list[tuple[str | None, Tensor]] = []
    for text in given:
        found = _INPUT.match(text)
        kind = (found["type"] or "float32") if found else ""
        if found is None or kind not in TYPES:
            raise InputError(
                f"--input: {text!r} is no shape.",
                f"Write it like 1x3x224x224 or ids=1x128:int64; types: {', '.join(TYPES)}.",
            )
        shape = [int(size) for size in found["shape"].split("x")]
        dtype = getattr(torch, kind)
        value = torch.randn(shape).to(dtype) if dtype.is_floating_point else torch.randint(0, 2, shape).to(dtype)
        made.append((found["name"], value))
    if len({name is None for name, _ in made}) > 1:
        raise InputError("--input: some are named and some are not.", "Name all of them, or none.")
    if made and made[0][0] is not None:
        return {str(name): value for name, value in made}
    return tuple(value for _, value in made) or None


def _resolve(model: str, inputs: Any, arguments: str | None, allow: list[str]) -> "tuple[nn.Module, Any]":
    """Return the module that is meant, in eval mode, and its example inputs."""
    from reprune.config import entry_points, loading
    from reprune.pruning import bundle

    if (Path(model) / bundle.DESCRIPTION).is_file():
        return bundle.load(model, allow=allow), _needed(inputs, model)
    if Path(model).is_dir():
        raise InputError(f"{model} is a folder, but no bundle: it has no {bundle.DESCRIPTION}.", "Name a bundle.")
    if ":" in model:
        keywords = _arguments(arguments)
        entry_points.use_code(str(Path.cwd()))  # the user names the module, a bundle does not
        return bundle.Factory(model, keywords).build(key="MODEL").eval(), _needed(inputs, model)
    loaded = loading.load(model)
    entry_points.use_code(loaded.code)
    built = bundle.build(loaded.model, key="model").eval()
    if inputs is None:
        from reprune.data.datasets import Data

        inputs = Data(loaded).example()
    return built, inputs


def _arguments(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise InputError(f"--arguments: {text!r} is not JSON: {error}.", """Write it like '{"width": 8}'.""") from None
    if not isinstance(found, dict):
        raise InputError(f"--arguments: {text!r} holds no names.", """Write it like '{"width": 8}'.""")
    return found


def _needed(inputs: Any, model: str) -> Any:
    if inputs is None:
        raise InputError(f"{model} brings no example inputs.", "Give their shape: --input 1x3x224x224.")
    return inputs


def _described(example: Any) -> str:
    from reprune.pruning.graph.capture import leaves

    return ", ".join("x".join(map(str, leaf.shape)) for leaf in leaves(example) if hasattr(leaf, "shape"))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise InputError(
            f"--html: {path} cannot be written: {error.strerror}.", "Name a file in a folder that exists."
        ) from None


def _as_json(name: str, analysis: "Analysis", cost: "Counts") -> dict[str, Any]:
    return {
        "model": name,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "prunable": cost.prunable,
        "groups": [
            {
                "name": group.name,
                "kind": group.kind,
                "width": group.width,
                "tensors": list(dict.fromkeys(member.tensor for member in group.members)),
                "parameters": cost.parameters_of[group.name],
                "macs": cost.macs_of[group.name],
            }
            for group in analysis.groups
        ],
        "whole": [{"what": each.what, "why": each.reason} for each in analysis.frozen],
    }


def _show(console: "Console", analysis: "Analysis", cost: "Counts", inputs: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from reprune import formatting
    from reprune.pruning.shortfall import held_back, missed
    from reprune.pruning.summary_table import amount

    groups = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("group", "kind"):
        groups.add_column(heading, overflow="fold")
    for heading in ("width", "tensors", "parameters", "MACs"):
        groups.add_column(heading, justify="right", no_wrap=True)
    for group in analysis.groups:
        tensors = len({member.tensor for member in group.members})
        shares = (f"{cost.parameters_of[group.name]:.1%}", f"{cost.macs_of[group.name]:.1%}")
        groups.add_row(Text(group.name), group.kind, f"{group.width:,}", str(tensors), *shares)
    console.print(groups)
    if analysis.frozen:
        console.print("\nleft whole", style="bold")
        for reason, names in analysis.whole.items():
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            console.print(Text("  ") + Text(reason) + Text(f"\n    {', '.join(names[:4])}{more}", style="dim"))
    console.print(
        f"\n{formatting.count(len(analysis.groups), 'group')}, {cost.parameters:,} parameters "
        f"({cost.prunable:.0%} in some group), {amount(cost.macs)} MACs on {inputs}"
    )
    if missed(1.0, cost.prunable):
        terminal.warn(console, f"Most of the parameters cannot be cut. They are held back by: {held_back(analysis)}.")
