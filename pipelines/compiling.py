"""The pipeline as a file for Kubeflow Pipelines."""

from pathlib import Path

from kfp import compiler

from reprune.pipelines import recurring
from reprune.workload import Workload


def compile_pipeline(workload: Workload, path: Path, *, store: str, image: str | None = None) -> None:
    """Write the compiled pipeline of a workload.

    Args:
        workload: The workload.
        path: A ``.yaml`` file.
        store: URI of the store that the pipeline uses by default.
        image: Container image of every step.
    """
    compiler.Compiler().compile(recurring.build(workload, store=store, image=image, on_cluster=True), str(path))
