"""The ``gate`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def gate(
    verdict: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    exported: dsl.Input[dsl.Model],
    evidence: list[str],
    workload: str,
    store: str,
    run: str,
) -> str:
    """Judge the candidate: is anything lost that matters, and is it as fast and small as it must be?

    Where it was quantized, that file is judged if it is faster on every target; the float one otherwise, or if the gate
    refuses the quantized one.

    Args:
        verdict: Every check with its margin, as JSON.
        report: The report of the whole run.
        exported: What `export_onnx` wrote.
        evidence: What `benchmark` returned, one for each target.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.

    Returns:
        ``promote`` or ``reject``.
    """
    from pathlib import Path

    from reprune.steps import gate as work
    from reprune.steps.context import Step

    with Step("gate", workload=workload, store=store, run=run) as step:
        return work.run(
            step,
            exported=Path(exported.path),
            evidence=evidence,
            verdict=Path(verdict.path),
            report=Path(report.path),
        )
