"""The ``reject`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def reject(
    verdict: dsl.Input[dsl.Artifact],
    workload: str,
    store: str,
    run: str,
) -> None:
    """Record why the candidate was not promoted; the champion stays.

    Args:
        verdict: The verdict of the gate.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
    """
    from pathlib import Path

    from reprune.steps import reject as work
    from reprune.steps.context import Step

    with Step("reject", workload=workload, store=store, run=run) as step:
        work.run(step, verdict=Path(verdict.path))
