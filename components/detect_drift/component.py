"""The ``detect_drift`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def detect_drift(
    report: dsl.Output[dsl.HTML],
    workload: str,
    store: str,
    run: str,
    trigger: str = "schedule",
) -> str:
    """Decide whether the loop has anything to do.

    There is no champion yet, production data has drifted away from what the champion was made for, an alert or
    a person asks for it: ``reprune``. Otherwise ``skip``.

    Args:
        report: What moved, and by how much.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
        trigger: What started the run: ``schedule``, ``alert`` or ``force``.

    Returns:
        ``reprune`` or ``skip``.
    """
    from pathlib import Path

    from reprune.steps import detect_drift as work
    from reprune.steps.context import Step

    with Step("detect_drift", workload=workload, store=store, run=run) as step:
        return work.run(step, report=Path(report.path), trigger=trigger)
