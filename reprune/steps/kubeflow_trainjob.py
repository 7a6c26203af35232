"""Training elsewhere: a TrainJob of Kubeflow Trainer does it, on as many nodes as asked for, and the step looks on.

The step and the job meet in the store: the job leaves the checkpoint of a finished training, and the step takes it up.
So a step that is tried again finds the job it made before, and a job that is made again goes on where the last one was.

``torchrun -m reprune.steps.kubeflow_trainjob`` is what the job's nodes run.
"""

import os
import time
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from reprune.config import entry_points
from reprune.config.cluster import TrainJob, seconds
from reprune.errors import ClusterError, StepError
from reprune.steps.context import Step

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
IMAGE = "REPRUNE_TRAIN_JOB_IMAGE"
"""Environment variable of a step that has its training done by a job: the job's image."""

NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
POLL_SECONDS = 10.0
PATIENCE = 30
"""Looks in a row that may fail before the step does."""

_GIVEN = ("REPRUNE_WORKLOAD_JSON", "REPRUNE_STORE", "REPRUNE_RUN", "REPRUNE_TRAINING")


class Training(BaseModel):
    """What a job has to learn, beside what the workload says."""

    key: str
    """Of the checkpoints."""
    epochs: int
    learning_rate: float
    warm: bool = False
    """Whether it begins with the weights that the run before trained."""


class Jobs(Protocol):
    """What is asked of TrainJobs."""

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a job, or None where there is none."""

    def create(self, body: dict[str, Any]) -> None:
        """Create a job."""

    def delete(self, name: str) -> None:
        """Delete a job."""


def train_elsewhere(step: Step, training: Training, jobs: Jobs | None = None) -> None:
    """Have a training done by a TrainJob, and return when its last checkpoint is in the store.

    Args:
        step: The step.
        training: What it has to learn.
        jobs: Where; by default the namespace of this pod.

    Raises:
        StepError: The job failed.
        ClusterError: The Kubernetes API cannot be reached, or refuses.
    """
    jobs = jobs or _jobs_here()
    name = f"reprune-{step.workload.name[:40]}-{training.key[:10]}"
    there = jobs.get(name)
    if there and _state(there)[0] == "Failed":
        jobs.delete(name)
        while jobs.get(name):
            time.sleep(POLL_SECONDS)
        there = None
    if there is None:
        jobs.create(body(step, name, training))
    step.progress(f"TrainJob {name}")
    _follow(jobs, name)


def body(step: Step, name: str, training: Training) -> dict[str, Any]:
    """Return the TrainJob that does a training."""
    cluster = step.workload.cluster
    job = cluster.train_job or TrainJob()
    needs = cluster.needs("train")
    assert needs.cpu and needs.memory and needs.timeout, "every step has defaults"
    resources = {"cpu": needs.cpu, "memory": needs.memory}
    if needs.accelerator:
        resources[needs.accelerator.resource] = str(needs.accelerator.count)
    values = (step.workload_json, step.store.uri, step.run, training.model_dump_json())  # its code may travel inside
    plain = dict(zip(_GIVEN, values, strict=True)) | cluster.environment
    environment: list[dict[str, Any]] = [{"name": it, "value": value} for it, value in plain.items()]
    for secret, keys in cluster.secrets.items():
        for it in keys:
            environment.append({"name": it, "valueFrom": {"secretKeyRef": {"name": secret, "key": it}}})
    labels = {"app.kubernetes.io/name": "reprune", "reprune.dev/workload": step.workload.name}
    trainer = {
        "image": os.environ[IMAGE],
        "command": ["torchrun", "-m", "reprune.steps.kubeflow_trainjob"],
        "env": environment,
        "numNodes": job.nodes,
        "numProcPerNode": job.processes,
        "resourcesPerNode": {"requests": resources, "limits": resources},
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "runtimeRef": {"name": job.runtime},
            "trainer": trainer,
            "activeDeadlineSeconds": seconds(needs.timeout),
        },
    }


def _follow(jobs: Jobs, name: str) -> None:
    """Look at a job until it has come to an end."""
    missed = 0
    while True:
        try:
            job = jobs.get(name)
            missed = 0
        except ClusterError:
            missed += 1
            if missed > PATIENCE:
                raise
            time.sleep(POLL_SECONDS)
            continue
        if job is None:
            raise StepError(f"The TrainJob {name} was deleted while it ran.", "Run again; it goes on where it was.")
        state, why = _state(job)
        if state == "Complete":
            return
        if state == "Failed":
            raise StepError(
                f"The TrainJob {name} failed: {why}",
                f"kubectl logs -l jobset.sigs.k8s.io/jobset-name={name} says more.",
            )
        time.sleep(POLL_SECONDS)


def _state(job: dict[str, Any]) -> tuple[str, str]:
    """Return whether a job is Complete or Failed, and why; neither while it runs or waits."""
    for condition in job.get("status", {}).get("conditions", ()):
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            return condition["type"], f"{condition['reason']}: {condition['message']}".rstrip(".")
    return "", ""


def _jobs_here() -> Jobs:
    from reprune.steps.kubernetes import CustomObjects

    namespace = NAMESPACE.read_text().strip() if NAMESPACE.is_file() else "default"
    return CustomObjects(GROUP, VERSION, PLURAL, namespace)


def main() -> None:
    """Train, as one of the processes that torchrun started; what is learnt is in the store's checkpoints."""
    import torch.distributed as dist

    from reprune.planning.dense_model import previous
    from reprune.pruning import bundle
    from reprune.steps import recovery
    from reprune.training import workload_training
    from reprune.training.trainer import seed_everything

    workload, store, run, given = (os.environ[it] for it in _GIVEN)
    training = Training.model_validate_json(given)
    step = Step("train", workload=workload, store=store, run=run)
    entry_points.use_code(step.workload.code)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo")
    seed_everything(step.workload.seed)
    former = previous(step.workload, step.store) if training.warm else None
    if training.warm and former is None:
        raise StepError("The weights to begin with are gone from the store.", "Run again; training begins anew.")
    seed = step.workload.seed
    workload_training.learn(
        step.workload,
        step.data,
        step.task,
        former[0] if former else bundle.build(step.workload.model, key="model"),
        recovery.settings(step, epochs=training.epochs, learning_rate=training.learning_rate, seed=seed),
        checkpoints=step.checkpoints(training.key),
    )
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
