"""``init``, ``schema``, ``expectations`` and ``compile``: the workload file and what is made from it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from reprune.cli.options import DEFAULT_SHARDS, DEFAULT_STORE, ImageOption, LogOption, ShardsOption, StoreOption
from reprune.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(init)
    app.command()(schema)
    app.command()(expectations)
    app.command("compile")(compile_)


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("workload.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented workload file to start from.

    Then put your model and data into it and `reprune run workload.yaml`.
    """
    from importlib import resources

    if path.exists() and not force:
        raise InputError(f"{path} exists already.", "Name another file, or add --force to replace it.")
    try:
        path.write_text((resources.files("reprune.workloads") / "template.yaml").read_text())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}.", "Name a file in a folder that exists."
        ) from None
    typer.echo(f"Wrote {path}. Put your model and data into it, then: reprune run {path}")


def schema() -> None:
    """Print the JSON schema of a workload file, for editors.

    With `# yaml-language-server: $schema=workload.schema.json` as its first line, most editors complete its keys.
    """
    import json

    from reprune.config import loading

    typer.echo(json.dumps(loading.schema(), indent=2))


def expectations(
    workload: Annotated[str, typer.Argument(help="A shipped workload (digits ...) or a YAML file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")] = Path("expectations"),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write what is expected of each split of the data, to edit.

    Without such files every run infers its expectations from the train split. Named in the workload, they hold until
    you change them: new training data is then held against the old.

    Example: reprune expectations workload.yaml
    """
    import json

    from reprune.config import entry_points, loading
    from reprune.config.workload import SPLITS

    loaded = loading.load(workload)
    files = {split: output / f"{split}.json" for split in SPLITS}
    there = [str(path) for path in files.values() if path.exists()]
    if there and not force:
        raise InputError(f"{', '.join(there)} exist already.", "Name another folder, or add --force to replace them.")
    from reprune.data.validation.validate import inferred

    entry_points.use_code(loaded.code)
    suites = inferred(loaded)
    output.mkdir(parents=True, exist_ok=True)
    for split, suite in suites.items():
        files[split].write_text(json.dumps(suite, indent=2) + "\n")
    lines = [f"  {split}: {files[split]}" for split in suites]
    typer.echo("Wrote them. Edit what you know better, then add to the workload:\n\nexpectations:\n" + "\n".join(lines))


def compile_(
    workload: Annotated[str, typer.Argument(help="A shipped workload (digits ...) or a YAML file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("pipeline.yaml"),
    store: StoreOption = DEFAULT_STORE,
    image: ImageOption = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Write the resources Pipeline and PipelineVersion, for GitOps.")
    ] = False,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace of those resources.", metavar="NAME", show_default=False)
    ] = None,
    log: LogOption = None,
    shards: ShardsOption = DEFAULT_SHARDS,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines.

    It is the very pipeline that `reprune run` executes here; or, with --log, the one of `reprune drift --log`.

    Example: reprune compile digits --store s3://models/reprune -o pipeline.yaml
    """
    from reprune.config import loading

    loaded = loading.load(workload)
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output: {str(output)!r} is no .yaml file.", "Name it like pipeline.yaml.")
    if namespace and not kubernetes:
        raise InputError("--namespace: there are no resources to put into it.", "Add --kubernetes, or leave it out.")
    from reprune.pipelines import compiling

    options: dict[str, Any] = {"store": store, "image": image, "log": log, "shards": shards}
    if kubernetes:
        version = compiling.compile_resources(loaded, output, namespace=namespace, **options)
    else:
        version = compiling.compile_pipeline(loaded, output, **options)
    typer.echo(f"Wrote {output}: pipeline {version.rpartition('-')[0]}, version {version}.")
