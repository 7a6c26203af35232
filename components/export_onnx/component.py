"""The ``export_onnx`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def export_onnx(
    exported: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    dense: dsl.Input[dsl.Model],
    candidate: dsl.Input[dsl.Model],
    workload: str,
    store: str,
    run: str,
) -> None:
    """Export the dense model and the candidate to ONNX, compare each with torch, and quantize where that is asked.

    Args:
        exported: A folder with ``dense.onnx``, ``candidate.onnx``, ``quantized.onnx`` where asked, and ``export.json``.
        report: Sizes and errors.
        dense: The dense model.
        candidate: The candidate.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
    """
    from pathlib import Path

    from reprune.steps import export_onnx as work
    from reprune.steps.context import Step

    with Step("export_onnx", workload=workload, store=store, run=run) as step:
        work.run(
            step,
            dense=Path(dense.path),
            candidate=Path(candidate.path),
            exported=Path(exported.path),
            report=Path(report.path),
        )
