"""The ``publish_metrics`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-runtime:0.1.0", install_kfp_package=False)
def publish_metrics(
    metrics: dsl.Output[dsl.Artifact],
    workload: str,
    store: str,
    run: str,
    status: dsl.PipelineTaskFinalStatus,
) -> None:
    """Publish what the run did to Prometheus, whether it succeeded or failed.

    Pushes once to the Pushgateway that ``REPRUNE_PUSHGATEWAY`` names; without one, writes a file for the node
    exporter.

    Args:
        metrics: The metrics in the text format of Prometheus.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
        status: How the run ended; given by Kubeflow.
    """
    from pathlib import Path

    from reprune.steps import publish_metrics as work
    from reprune.steps.context import Step

    with Step("publish_metrics", workload=workload, store=store, run=run) as step:
        work.run(step, metrics=Path(metrics.path), state=status.state, error=status.error_message)
