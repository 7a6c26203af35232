"""The pipeline as a file: for Kubeflow Pipelines' API, or as Kubernetes resources for GitOps."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kfp import compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from reprune import hashing
from reprune.config.workload import Workload
from reprune.errors import InputError
from reprune.pipelines import drift_over_log, files, recurring
from reprune.steps import code_archive


def compile_pipeline(
    workload: Workload,
    path: Path,
    *,
    store: str,
    image: str | None = None,
    log: str | None = None,
    shards: int = 1,
) -> str:
    """Write the compiled pipeline of a workload, with the workload's code in it.

    Args:
        workload: The workload.
        path: A ``.yaml`` file.
        store: URI of the store that the pipeline uses by default.
        image: Container image of every step.
        log: URI of a log of predictions: the pipeline that judges it, in place of the one that prunes.
        shards: How many steps read that log side by side.

    Returns:
        The name of this version of the pipeline, which follows from what is in the file alone.

    Raises:
        InputError: The code is too large to travel, weights or splits are files of this machine, or what the workload
            asks of the cluster cannot be.
    """
    return _compile(_build(workload, store, image, log, shards), path)


def compile_resources(
    workload: Workload,
    path: Path,
    *,
    store: str,
    image: str | None = None,
    log: str | None = None,
    shards: int = 1,
    namespace: str | None = None,
) -> str:
    """Write the pipeline as the resources Pipeline and PipelineVersion of ``pipelines.kubeflow.org``.

    A server in Kubernetes-native mode takes them from ``kubectl apply``, Argo CD or Flux. A changed pipeline becomes a
    version with another name, because the server lets no version change.

    Args:
        workload: The workload.
        path: A ``.yaml`` file.
        store: URI of the store that the pipeline uses by default.
        image: Container image of every step.
        log: As in `compile_pipeline`.
        shards: As in `compile_pipeline`.
        namespace: Where the resources belong.

    Returns:
        The name of the version, as in `compile_pipeline`.
    """
    pipeline = _build(workload, store, image, log, shards)
    with TemporaryDirectory() as folder:
        version = _compile(pipeline, Path(folder) / "pipeline.yaml")
    options = KubernetesManifestOptions(
        pipeline_name=pipeline.name,
        pipeline_version_name=version,
        namespace=namespace,
        include_pipeline_manifest=True,
    )
    compiler.Compiler().compile(
        pipeline, str(path), kubernetes_manifest_options=options, kubernetes_manifest_format=True
    )
    return version


def _build(workload: Workload, store: str, image: str | None, log: str | None, shards: int) -> Any:
    """Build the pipeline with the workload's code in it; a folder that is not here is one of the image's."""
    if log is not None:
        without = workload.replace(code=None)  # none of it is run
        return drift_over_log.build(without, log=log, shards=shards, store=store, image=image, on_cluster=True)
    here = files.on_this_machine(workload)
    for key, where in here.items():
        if key != "code":
            instead = "s3://..." if key == "weights" else "module:callable, which reads it where the cluster has it"
            raise InputError(
                f"{key}: {where} is a file of this machine, which the steps of a cluster do not see.",
                f"Name {instead}; or put the file into the image and give its path there (docs/containers.md).",
            )
    if "code" in here:
        workload = workload.replace(code=code_archive.pack(here["code"]))
    return recurring.build(workload, store=store, image=image, on_cluster=True)


def _compile(pipeline: Any, path: Path) -> str:
    """Write a pipeline; returns the name of its version."""
    compiler.Compiler().compile(pipeline, str(path))
    return f"{pipeline.name}-{hashing.of_file(path)[:12]}"
