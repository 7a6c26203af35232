"""What each step needs of a cluster, set on its task: the one place that speaks kfp-kubernetes."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl, kubernetes

from reprune import __version__
from reprune.config import cluster
from reprune.config.cluster import Needs
from reprune.config.target import Target
from reprune.config.workload import Workload
from reprune.errors import InputError
from reprune.steps import compatibility, kubeflow_trainjob

CERTIFICATES = "/etc/reprune/certificates"
ACCELERATED = ("CUDA", "Tensorrt", "ROCM", "MIGraphX", "CANN")
"""Execution providers that find no accelerator on a node unless the pod asks for one."""


def pipeline_config(workload: Workload) -> dsl.PipelineConfig:
    """Return how long a run may take and how long its pods are kept."""
    return dsl.PipelineConfig(
        ttl_seconds_after_finished=cluster.seconds(workload.cluster.keep_pods),
        active_deadline_seconds=cluster.seconds(workload.cluster.deadline),
    )


def prepare(
    task: Any,
    workload: Workload,
    *,
    target: Target | None = None,
    image: str | None = None,
    environment: Mapping[str, str] | None = None,
    on_cluster: bool = False,
) -> None:
    """Set on a task what every step has: no cached answers, the version of its pipeline, its image, its environment.

    Args:
        task: The task.
        workload: Whose step it is.
        target: The target that the task measures, if it does.
        image: Container image of every step; by default the one that the workload or the component names.
        environment: Environment of every step.
        on_cluster: Whether the step states what it needs of a cluster.

    Raises:
        InputError: See `apply`.
    """
    task.set_caching_options(False)
    for name, value in {compatibility.PIPELINE: __version__, **(environment or {})}.items():
        task.set_env_variable(name, value)
    if on_cluster:
        apply(task, task.component_spec.name.replace("-", "_"), workload, target=target, image=image)
    elif image:
        task.set_container_image(image)


def apply(task: Any, step: str, workload: Workload, *, target: Target | None = None, image: str | None = None) -> None:
    """Set on a task what its step needs.

    Args:
        task: The task.
        step: Name of the step.
        workload: Whose ``cluster`` section says it.
        target: The target that the task measures, if it does.
        image: Container image of every step, before the one that the workload names.

    Raises:
        InputError: The target needs an accelerator, and nothing asks for one.
    """
    section = workload.cluster
    needs = section.needs(step, target=target and target.key(), threads=target.threads if target else 1)
    if target and target.provider.startswith(ACCELERATED) and not needs.accelerator:
        raise InputError(
            f"The target {target.key()} runs on {target.provider}, but its pod asks for no accelerator.",
            f"Say which under cluster.targets.{target.key()}.accelerator, as in resource: nvidia.com/gpu.",
        )
    chosen = needs.image or image or section.image
    if chosen:
        task.set_container_image(chosen)
    if step == "train" and section.train_job:
        task.set_env_variable(kubeflow_trainjob.IMAGE, chosen or task.container_spec.image)
        needs = needs.model_copy(update=cluster.LOOKING_ON)
    _resources(task, needs)
    _place(task, needs)
    _scratch(task, needs)
    _environment(task, workload)
    _pod(task, step, workload)


def _resources(task: Any, needs: Needs) -> None:
    assert needs.cpu and needs.memory and needs.timeout, "every step has defaults"
    task.set_cpu_request(needs.cpu).set_cpu_limit(needs.cpu)
    task.set_memory_request(needs.memory).set_memory_limit(needs.memory)
    task.set_env_variable("OMP_NUM_THREADS", str(cluster.whole_cores(needs.cpu)))  # torch counts the node's cores
    kubernetes.set_timeout(task, cluster.seconds(needs.timeout))
    if needs.retries:
        task.set_retry(
            needs.retries,
            backoff_duration=f"{cluster.seconds(needs.backoff)}s",
            backoff_factor=2.0,
            backoff_max_duration="3600s",
        )


def _place(task: Any, needs: Needs) -> None:
    if needs.accelerator:
        task.set_accelerator_type(needs.accelerator.resource).set_accelerator_limit(needs.accelerator.count)
    for key, value in needs.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in needs.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())


def _scratch(task: Any, needs: Needs) -> None:
    if needs.storage_class:
        kubernetes.add_ephemeral_volume(
            task, "scratch", "/tmp", ["ReadWriteOnce"], needs.scratch, storage_class_name=needs.storage_class
        )
    else:
        kubernetes.empty_dir_mount(task, "scratch", "/tmp", size_limit=needs.scratch)


def _environment(task: Any, workload: Workload) -> None:
    section = workload.cluster
    for name, keys in section.secrets.items():
        kubernetes.use_secret_as_env(task, name, {key: key for key in keys})
    for name, value in section.environment.items():
        task.set_env_variable(name, value)
    if section.certificates:
        kubernetes.use_config_map_as_volume(task, section.certificates, CERTIFICATES)
        for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            task.set_env_variable(name, f"{CERTIFICATES}/ca.crt")


def _pod(task: Any, step: str, workload: Workload) -> None:
    section = workload.cluster
    labels = {
        "app.kubernetes.io/name": "reprune",
        "app.kubernetes.io/component": step.replace("_", "-"),
        "reprune.dev/workload": workload.name,
    }
    for key, value in (labels | section.labels).items():
        kubernetes.add_pod_label(task, key, value)
    kubernetes.set_security_context(
        task, run_as_user=section.run_as_user, run_as_group=section.run_as_user, run_as_non_root=True
    )
    if section.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(section.pull_secrets))
