"""The ``benchmark`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-runtime:0.1.0", install_kfp_package=False)
def benchmark(
    report: dsl.Output[dsl.HTML],
    exported: dsl.Input[dsl.Model],
    workload: str,
    store: str,
    run: str,
    target: str,
) -> str:
    """Time the candidate, in float and quantized, against the dense model on one target, in turns and in one process.

    Run it on the hardware that will serve the model. A second session of the dense model is timed along, to
    show the noise.

    Args:
        report: The distributions of latency.
        exported: What `export_onnx` wrote.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
        target: The target to measure, as JSON.

    Returns:
        Key in the store of quantiles, ratios with intervals and raw samples.
    """
    from pathlib import Path

    from reprune.steps import benchmark as work
    from reprune.steps.context import Step

    with Step("benchmark", workload=workload, store=store, run=run) as step:
        return work.run(step, exported=Path(exported.path), report=Path(report.path), target=target)
