"""The pipeline that judges a large log of predictions: summarised in shards side by side, merged in one step."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from reprune.components.judge_shards.component import judge_shards
from reprune.components.summarize_shard.component import summarize_shard
from reprune.config.workload import Workload
from reprune.pipelines import needs


def build(
    workload: Workload,
    *,
    log: str,
    shards: int,
    store: str,
    image: str | None = None,
    environment: Mapping[str, str] | None = None,
    on_cluster: bool = False,
) -> Any:
    """Build the pipeline that judges a log.

    The shards are constants, and there is no exit handler: a loop inside one fails on some servers.

    Args:
        workload: Becomes the default of the pipeline's parameter of the same name.
        log: Likewise: a folder of prediction logs, here or on S3.
        shards: How many steps read it side by side; a few large ones, because loops of many strain the server.
        store: Likewise.
        image: Container image of every step; by default the one that the workload or the components name.
        environment: Environment of every step.
        on_cluster: Whether each step states what it needs of a cluster.

    Returns:
        The pipeline, to call, run or compile.
    """
    contract = workload
    config = needs.pipeline_config(workload) if on_cluster else None
    about = f"Compares a log of {workload.name}'s predictions with its champion's reference."

    @dsl.pipeline(name=f"reprune-{workload.name}-log", description=about, pipeline_config=config)
    def drift_over_log(
        workload: str = workload.model_dump_json(exclude_defaults=True), store: str = store, log: str = log
    ) -> str:
        common = {"workload": workload, "store": store, "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER, "log": log}

        def step(component: Any, **inputs: Any) -> Any:
            task = component(**common, **inputs)
            needs.prepare(task, contract, image=image, environment=environment, on_cluster=on_cluster)
            return task

        with dsl.ParallelFor(items=list(range(shards)), name="shards") as shard:
            part = step(summarize_shard, shard=shard, shards=shards)
        return step(judge_shards, parts=dsl.Collected(part.outputs["Output"])).outputs["Output"]

    return drift_over_log
