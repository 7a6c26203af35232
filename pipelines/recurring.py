"""The recurring pipeline, from validating data to promoting a model; one object for laptop and server."""

from collections.abc import Mapping, Sequence
from typing import Any

from kfp import dsl

from reprune.components.analyze_sensitivity.component import analyze_sensitivity
from reprune.components.benchmark.component import benchmark
from reprune.components.detect_drift.component import detect_drift
from reprune.components.export_onnx.component import export_onnx
from reprune.components.finetune.component import finetune
from reprune.components.gate.component import gate
from reprune.components.profile_hardware.component import profile_hardware
from reprune.components.promote.component import promote
from reprune.components.prune.component import prune
from reprune.components.publish_metrics.component import publish_metrics
from reprune.components.reject.component import reject
from reprune.components.train.component import train
from reprune.components.validate_data.component import validate_data
from reprune.config.target import Target
from reprune.config.workload import Workload
from reprune.pipelines import needs

DEFAULT_STORE = "reprune-store"


def build(
    workload: Workload,
    *,
    store: str = DEFAULT_STORE,
    image: str | None = None,
    environment: Mapping[str, str] | None = None,
    on_cluster: bool = False,
) -> Any:
    """Build the pipeline of a workload.

    The graph is flat and its conditions stand on single outputs, because kfp's local runner passes over anything else
    in silence. Targets are unrolled, so that each can have its own node; they follow one another, because two
    benchmarks side by side disturb each other.

    Args:
        workload: Becomes the default of the pipeline's parameter of the same name.
        store: Likewise.
        image: Container image of every step; by default the one that the workload or the components name.
        environment: Environment of every step.
        on_cluster: Whether each step states what it needs of a cluster.

    Returns:
        The pipeline, to call, run or compile.

    Raises:
        InputError: What the workload asks of the cluster cannot be.
    """
    contract = workload
    config = needs.pipeline_config(workload) if on_cluster else None

    @dsl.pipeline(name=f"reprune-{workload.name}", description=f"Keeps {workload.name} pruned.", pipeline_config=config)
    def recurring(
        workload: str = workload.model_dump_json(exclude_defaults=True), store: str = store, trigger: str = "schedule"
    ) -> None:
        common = {"workload": workload, "store": store, "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER}

        def step(component: Any, *, target: Target | None = None, **inputs: Any) -> Any:
            task = component(**common, **inputs, **({"target": target.model_dump_json()} if target else {}))
            needs.prepare(task, contract, target=target, image=image, environment=environment, on_cluster=on_cluster)
            return task

        with dsl.ExitHandler(step(publish_metrics)):
            validated = step(validate_data)
            decision = step(detect_drift, trigger=trigger).after(validated)
            with dsl.If(decision.outputs["Output"] == "reprune", name="reprune"):
                candidate, exported = _make_candidate(step, contract.target, validated.outputs["validation"])
                evidence = _one_by_one(step, benchmark, contract.target, exported=exported)
                judged = step(gate, exported=exported, evidence=_outputs(evidence))
                verdict, report = judged.outputs["verdict"], judged.outputs["report"]
                with dsl.If(judged.outputs["Output"] == "promote", name="promote"):
                    step(promote, candidate=candidate, exported=exported, verdict=verdict, report=report)
                with dsl.Else(name="reject"):
                    step(reject, verdict=verdict)

    return recurring


def images(pipeline: Any) -> set[str]:
    """Return the container images that the steps of a pipeline run in."""
    executors = pipeline.pipeline_spec.deployment_spec["executors"].values()
    return {executor["container"]["image"] for executor in executors}


def _make_candidate(step: Any, targets: Sequence[Target], validation: Any) -> tuple[Any, Any]:
    """Add the steps from training to exporting; returns the candidate and its export."""
    dense = step(train, validation=validation).outputs["dense"]
    profiles = _one_by_one(step, profile_hardware, targets, dense=dense)
    curves = step(analyze_sensitivity, dense=dense).after(profiles[-1]).outputs["sensitivity"]
    pruned = step(prune, dense=dense, sensitivity=curves, profiles=_outputs(profiles)).outputs["pruned"]
    candidate = step(finetune, dense=dense, pruned=pruned).outputs["candidate"]
    return candidate, step(export_onnx, dense=dense, candidate=candidate).outputs["exported"]


def _one_by_one(step: Any, component: Any, targets: Sequence[Target], **inputs: Any) -> list[Any]:
    """Add one task for each target, each after the one before."""
    chain: list[Any] = []
    for target in targets:
        task = step(component, target=target, **inputs)
        chain.append(task.after(*chain[-1:]))
    return chain


def _outputs(tasks: list[Any]) -> list[Any]:
    """Return what tasks return, to pass on as one list."""
    return [task.outputs["Output"] for task in tasks]
