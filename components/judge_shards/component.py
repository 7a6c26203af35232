"""The ``judge_shards`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def judge_shards(
    report: dsl.Output[dsl.HTML],
    workload: str,
    store: str,
    run: str,
    log: str,
    parts: list[str],
) -> str:
    """Merge the summaries of a log's shards, and compare the whole log with the champion's reference.

    The verdict is that of the log read at once, to the last bit.

    Args:
        report: What moved, and by how much.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
        log: URI of the log.
        parts: What each `summarize_shard` returned.

    Returns:
        ``drift``, ``no drift`` or ``inconclusive``.
    """
    from pathlib import Path

    from reprune.steps import judge_shards as work
    from reprune.steps.context import Step

    with Step("judge_shards", workload=workload, store=store, run=run) as step:
        return work.run(step, log=log, parts=parts, report=Path(report.path))
