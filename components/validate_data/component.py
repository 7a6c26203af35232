"""The ``validate_data`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def validate_data(
    validation: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    workload: str,
    store: str,
    run: str,
) -> None:
    """Check that the workload's model and data belong together, and that the data is fit to learn from.

    Fails at once on what cannot work (shapes the model refuses, labels out of range, missing values), then runs
    Great Expectations suites inferred from the train split on every other split.

    Args:
        validation: Splits, digests and failed expectations, as JSON.
        report: The Great Expectations page.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
    """
    from pathlib import Path

    from reprune.steps import validate_data as work
    from reprune.steps.context import Step

    with Step("validate_data", workload=workload, store=store, run=run) as step:
        work.run(step, validation=Path(validation.path), report=Path(report.path))
