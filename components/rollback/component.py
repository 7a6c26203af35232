"""The ``rollback`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-runtime:0.1.0", install_kfp_package=False)
def rollback(
    workload: str,
    store: str,
    run: str,
    reason: str,
    to: str = "",
) -> str:
    """Make an earlier champion the champion again.

    Args:
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
        reason: Why, for the history.
        to: The version to return to; by default the champion before this one.

    Returns:
        The version of the champion.
    """
    from reprune.steps import rollback as work
    from reprune.steps.context import Step

    with Step("rollback", workload=workload, store=store, run=run) as step:
        return work.run(step, reason=reason, to=to)
