"""Writes each component's README from its docstring and its metadata: ``python -m reprune.components.readmes``."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import yaml

from reprune import components

ROOT = Path(components.__path__[0])


def names() -> list[str]:
    """Return the names of all components."""
    return [item.name for item in pkgutil.iter_modules([str(ROOT)]) if item.ispkg]


def readme(name: str) -> str:
    """Return the README of a component, in Markdown."""
    function = getattr(importlib.import_module(f"reprune.components.{name}.component"), name).python_func
    metadata = yaml.safe_load((ROOT / name / "metadata.yaml").read_text())
    about, arguments, returns = _docstring(inspect.getdoc(function) or "")
    parts = [
        f"# {name}",
        "<!-- Written by `make readmes` from component.py and metadata.yaml. -->",
        f"Stability: {metadata['stability']}. Tags: {', '.join(metadata['tags'])}.",
        *about,
        *_table("Inputs", function, arguments, outputs=False),
        *_table("Outputs", function, arguments, outputs=True),
        *([f"Returns {returns[0].lower() if returns[0].isupper() else returns[0]}{returns[1:]}"] if returns else []),
        "## Needs",
        "\n".join(
            f"- {item['name']} {item['version']}" for group in metadata["dependencies"].values() for item in group
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _docstring(text: str) -> tuple[list[str], dict[str, str], str]:
    """Split a Google docstring into paragraphs, the arguments with their descriptions, and what is returned."""
    about, _, rest = text.partition("\nArgs:\n")
    listed, _, returned = rest.partition("\nReturns:\n")
    arguments: dict[str, str] = {}
    name = ""
    for line in listed.splitlines():
        start = re.match(r"^    (\w+): (.*)$", line)
        if start:
            name = start[1]
        arguments[name] = start[2] if start else f"{arguments.get(name, '')} {line.strip()}".strip()
    paragraphs = [" ".join(paragraph.split()) for paragraph in about.split("\n\n") if paragraph.strip()]
    return paragraphs, arguments, " ".join(returned.split())


def _table(title: str, function: Any, arguments: dict[str, str], *, outputs: bool) -> list[str]:
    rows = []
    for parameter in inspect.signature(function).parameters.values():
        kind = inspect.formatannotation(parameter.annotation)
        if ("Output" in kind) != outputs:
            continue
        default = "" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
        rows.append(f"| `{parameter.name}` | {_type(parameter.annotation)} | {default} | {arguments[parameter.name]} |")
    if not rows:
        return []
    return [f"## {title}", "\n".join(["| Name | Type | Default | |", "|---|---|---|---|", *rows])]


def _type(annotation: Any) -> str:
    """Name an annotation as its author wrote it; kfp wraps artifacts in ``Annotated``."""
    inner = getattr(annotation, "__args__", None)
    if hasattr(annotation, "__metadata__") and inner:
        return str(inner[0].__name__)
    return str(annotation) if inner else str(annotation.__name__)


def main() -> None:
    """Write the README of every component."""
    for name in names():
        (ROOT / name / "README.md").write_text(readme(name))


if __name__ == "__main__":
    main()
