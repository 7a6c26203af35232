"""Options that several commands share."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from reprune.errors import InputError

if TYPE_CHECKING:
    from reprune.config.target import Target

DEFAULT_STORE = "reprune-store"
DEFAULT_SHARDS = 4

StoreOption = Annotated[
    str,
    typer.Option(
        "--store", envvar="REPRUNE_STORE", help="A folder, or [bold]s3://bucket/prefix[/bold].", metavar="URI"
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        help="S3 endpoint; by default what the usual AWS variables say.",
        metavar="URL",
        show_default=False,
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="NAME",
        help="A package whose models a bundle may name, or an entry point that it may name, as in "
        "[bold]my_project[/bold] or [bold]my_project.models:build[/bold]; may be repeated. Needed for bundles of your "
        "own models, not for workloads that ship.",
        show_default=False,
    ),
]
ImageOption = Annotated[
    str | None,
    typer.Option(
        help="Container image of every step; by default what the workload's cluster section says.", show_default=False
    ),
]
LogOption = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="URI",
        help="A large log of the champion's predictions, a folder of files: read in shards, side by side.",
        show_default=False,
    ),
]
ShardsOption = Annotated[
    int, typer.Option(min=1, max=10, help="Steps that read the log, with --log; whole files are dealt to them.")
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="KEY=VALUE,...",
        help="Where the model is served, as in [bold]provider=cpu,threads=1,batch_size=32[/bold]; may be repeated. "
        "By default the workload's targets.",
        show_default=False,
    ),
]


def targets(given: list[str] | None, defaults: Sequence["Target"]) -> list["Target"]:
    """Return the targets that ``--target`` names, or the workload's; what one leaves out is as in the workload's first.

    Raises:
        InputError: One of them is no target.
    """
    return [_target(text, defaults[0]) for text in given] if given else list(defaults)


def _target(text: str, default: "Target") -> "Target":
    from reprune.config.target import Target, provider_named

    keys = list(Target.model_fields)
    values = default.model_dump()
    for part in text.split(","):
        key, equals, value = (it.strip() for it in part.partition("="))
        number = value.isdecimal() and int(value) > 0
        if key not in keys or not equals or not (value if key == "provider" else number):
            raise InputError(f"--target: {part!r} is no part of a target.", f"Give {', '.join(keys)}, as in threads=1.")
        values[key] = provider_named(value) if key == "provider" else int(value)
    return Target(**values)


def use_endpoint(url: str | None) -> None:
    """Let this process and the steps that it starts use an S3 endpoint."""
    if url:
        os.environ["AWS_ENDPOINT_URL_S3"] = url
