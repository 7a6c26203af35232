"""The ``summarize_shard`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def summarize_shard(workload: str, store: str, run: str, log: str, shard: int, shards: int) -> str:
    """Summarise a shard of a log of predictions for the champion's reference, in bounded memory.

    The shard is every ``shards``-th file of the log, in the order of their names. Only these are fetched, and labels
    that came late.

    Args:
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
        log: URI of a folder of Parquet, CSV or NPZ files, a row a prediction.
        shard: Number of the shard, from 0.
        shards: How many there are.

    Returns:
        Key in the store of the summary; empty where no file is left for this shard.
    """
    from reprune.steps import summarize_shard as work
    from reprune.steps.context import Step

    with Step("summarize_shard", workload=workload, store=store, run=run) as step:
        return work.run(step, log=log, shard=shard, of=shards)
