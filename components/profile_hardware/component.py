"""The ``profile_hardware`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def profile_hardware(
    report: dsl.Output[dsl.HTML],
    dense: dsl.Input[dsl.Model],
    workload: str,
    store: str,
    run: str,
    target: str,
) -> str:
    """Measure, on the target, how long each prunable operator takes over the widths it could have.

    Run it on the hardware that will serve the model. Measurements are kept in the store and used again on the
    same machine.

    Args:
        report: Latency against width, by operator.
        dense: The dense model.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
        target: The target to measure, as JSON.

    Returns:
        Key in the store of the table of latencies.
    """
    from pathlib import Path

    from reprune.steps import profile_hardware as work
    from reprune.steps.context import Step

    with Step("profile_hardware", workload=workload, store=store, run=run) as step:
        return work.run(step, dense=Path(dense.path), report=Path(report.path), target=target)
