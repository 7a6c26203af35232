"""Options that several commands share."""

import os
from typing import Annotated

import typer

DEFAULT_STORE = "reprune-store"

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


def use_endpoint(url: str | None) -> None:
    """Let this process and the steps that it starts use an S3 endpoint."""
    if url:
        os.environ["AWS_ENDPOINT_URL_S3"] = url
