"""The ``train`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def train(
    dense: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    validation: dsl.Input[dsl.Dataset],
    workload: str,
    store: str,
    run: str,
) -> None:
    """Train the dense model, or evaluate the one that the workload brings.

    Goes on from its own checkpoint in the store when an earlier run was cut short.

    Args:
        dense: The dense model, as a bundle.
        report: Loss and accuracy by epoch.
        validation: What `validate_data` found.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
    """
    from pathlib import Path

    from reprune.steps import train as work
    from reprune.steps.context import Step

    with Step("train", workload=workload, store=store, run=run) as step:
        work.run(step, validation=Path(validation.path), dense=Path(dense.path), report=Path(report.path))
