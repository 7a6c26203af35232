"""The ``analyze_sensitivity`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def analyze_sensitivity(
    sensitivity: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    dense: dsl.Input[dsl.Model],
    workload: str,
    store: str,
    run: str,
) -> None:
    """Measure how much the loss rises as each group of channels narrows.

    Left out where the champion's recipe is to be replayed first.

    Args:
        sensitivity: A curve with error bars for each group, as JSON; null where it was left out.
        report: The curves.
        dense: The dense model.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
    """
    from pathlib import Path

    from reprune.steps import analyze_sensitivity as work
    from reprune.steps.context import Step

    with Step("analyze_sensitivity", workload=workload, store=store, run=run) as step:
        work.run(step, dense=Path(dense.path), sensitivity=Path(sensitivity.path), report=Path(report.path))
