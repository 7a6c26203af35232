"""The ``promote`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def promote(
    candidate: dsl.Input[dsl.Model],
    exported: dsl.Input[dsl.Model],
    verdict: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.HTML],
    workload: str,
    store: str,
    run: str,
) -> str:
    """Publish the candidate as a version and make it the champion.

    The pointer moves by compare-and-swap: when somebody else promoted since the gate looked, this promotion
    fails and says so.

    Args:
        candidate: The candidate.
        exported: What `export_onnx` wrote.
        verdict: The verdict of the gate.
        report: The report of the run.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.

    Returns:
        The version of the new champion.
    """
    from pathlib import Path

    from reprune.steps import promote as work
    from reprune.steps.context import Step

    with Step("promote", workload=workload, store=store, run=run) as step:
        return work.run(
            step,
            candidate=Path(candidate.path),
            exported=Path(exported.path),
            verdict=Path(verdict.path),
            report=Path(report.path),
        )
