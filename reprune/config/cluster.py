"""What the steps of the pipeline need on a cluster: the ``cluster`` section of a workload."""

import math
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# fmt: off
StepName = Literal[
    "validate_data", "detect_drift", "train", "profile_hardware", "analyze_sensitivity", "prune", "finetune",
    "export_onnx", "benchmark", "gate", "promote", "reject", "publish_metrics", "summarize_shard", "judge_shards",
]
# fmt: on
STEPS: tuple[str, ...] = get_args(StepName)
MEASURING = ("profile_hardware", "benchmark")
"""The steps whose place decides what they find: they run once for each target, on the hardware that serves it."""

_BYTES = re.compile(r"^[1-9][0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")
_CORES = re.compile(r"^([0-9]+(\.[0-9]+)?|[1-9][0-9]*m)$")
_DURATION = re.compile(r"^([1-9][0-9]*)(s|m|h|d)$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SECRETIVE = re.compile(r"SECRET|PASSW|TOKEN|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_OBJECT = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")


def _like(pattern: re.Pattern[str], what: str, example: str) -> AfterValidator:
    """Return the check that a text has a form."""

    def check(text: str) -> str:
        if not pattern.match(text):
            raise ValueError(f"is not {what}; write it like {example}")
        return text

    return AfterValidator(check)


def _no_secrets(environment: dict[str, str]) -> dict[str, str]:
    told = [name for name in environment if _SECRETIVE.search(name)]
    if told:
        raise ValueError(
            f"would put {', '.join(told)} into the compiled pipeline, for all to read; use cluster.secrets for it"
        )
    return environment


Cores = Annotated[
    str,
    BeforeValidator(lambda it: str(it) if isinstance(it, (int, float)) else it),
    _like(_CORES, "a CPU", "2 or 500m"),
]
Bytes = Annotated[str, _like(_BYTES, "a size", "8Gi")]
Duration = Annotated[str, _like(_DURATION, "a duration", "90m or 4h")]
ObjectName = Annotated[str, _like(_OBJECT, "a name of a Kubernetes object", "reprune-store")]


def seconds(duration: str) -> int:
    """Return a duration like ``90m`` in seconds."""
    match = _DURATION.match(duration)
    assert match is not None, "validated where it was read"
    return int(match[1]) * _SECONDS[match[2]]


class ClusterSection(BaseModel):
    """A part of the ``cluster`` section: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Toleration(ClusterSection):
    """A taint of nodes that a step does not mind."""

    key: str
    """Key of the taint."""

    operator: Literal["Equal", "Exists"] = "Exists"
    """``Exists`` takes any value of the taint, ``Equal`` the one below."""

    value: str | None = None
    """Value of the taint, for ``Equal``."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; by default every effect."""


class Accelerator(ClusterSection):
    """An accelerator that the node must have."""

    resource: str = "nvidia.com/gpu"
    """Name of the extended resource that the node's device plugin offers."""

    count: int = Field(1, ge=1)
    """How many."""


class Place(ClusterSection):
    """Which nodes a step may run on."""

    node_selector: dict[str, str] = {}
    """Labels that the node must have."""

    tolerations: tuple[Toleration, ...] = ()
    """Taints of the node that do not matter."""

    accelerator: Accelerator | None = None
    """What the node must have beside cores; by default nothing."""


class Needs(Place):
    """What one step needs. Whatever is left out keeps the step's own default."""

    cpu: Cores | None = None
    """Cores, requested and at most; OMP_NUM_THREADS follows. Measuring steps: one more than the target's threads."""

    memory: Bytes | None = None
    """Memory, requested and at most."""

    scratch: Bytes = "10Gi"
    """Room under /tmp, gone with the pod."""

    storage_class: str | None = None
    """Storage class of a volume of its own for /tmp; by default the node's own disk."""

    timeout: Duration | None = None
    """After this long the step's pod is ended, and tried again if there are retries left."""

    retries: int = Field(2, ge=0, le=10)
    """Tries after the first one that failed. Long steps go on from their last checkpoint."""

    backoff: Duration = "30s"
    """Wait before the first retry; it doubles each time, to an hour at most."""

    image: str | None = None
    """Container image of this step; by default that of all steps."""


class TrainJob(ClusterSection):
    """Training by Kubeflow Trainer, which the ``train`` step starts and follows to its end.

    Each node has what ``steps.train`` asks for. Where nodes are chosen, tolerations and security contexts belong to the
    runtime.
    """

    runtime: ObjectName = "torch-distributed"
    """ClusterTrainingRuntime that the job refers to."""

    nodes: int = Field(1, ge=1)
    """Nodes that share each batch."""

    processes: int = Field(1, ge=1)
    """Processes of each node; one for each of its accelerators."""


_LONG = Needs(cpu="4", memory="8Gi", timeout="1d")
_SHORT = Needs(cpu="1", memory="4Gi", timeout="1h")
LOOKING_ON = {"cpu": "1", "memory": "4Gi", "accelerator": None}
"""What is different for a step whose work is done by a job elsewhere."""

_TINY = Needs(cpu="500m", memory="2Gi", timeout="15m")
_DEFAULTS = {
    **dict.fromkeys(("validate_data", "detect_drift", "gate", "summarize_shard", "judge_shards"), _SHORT),
    **dict.fromkeys(("train", "analyze_sensitivity", "prune", "finetune"), _LONG),
    "export_onnx": Needs(cpu="2", memory="8Gi", timeout="1h"),
    **dict.fromkeys(MEASURING, Needs(memory="4Gi", timeout="4h")),
    **dict.fromkeys(("promote", "reject", "publish_metrics"), _TINY),
}


class Cluster(ClusterSection):
    """What the pipeline needs of a cluster."""

    image: str | None = None
    """Container image of every step, best by digest; by default the one of this release."""

    pull_secrets: tuple[ObjectName, ...] = ()
    """Secrets with access to a private registry."""

    secrets: dict[ObjectName, tuple[str, ...]] = {}
    """Secrets by name, each with its keys that every step sees as environment variables of the same names, such as
    ``reprune-store: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]``. Leave it out where pods have an identity of their
    own."""

    environment: Annotated[dict[str, str], AfterValidator(_no_secrets)] = {}
    """Other environment variables of every step: endpoints, regions, proxies. Nothing secret: they stand in the
    compiled pipeline."""

    certificates: ObjectName | None = None
    """ConfigMap whose ``ca.crt`` holds every authority to trust, for servers with certificates of a private one."""

    service_account: ObjectName | None = None
    """ServiceAccount of the steps; by default the one that Kubeflow Pipelines gives."""

    run_as_user: int | None = Field(None, ge=1)
    """Numeric user of the steps' processes; by default the image's own, which is not root either."""

    labels: dict[str, str] = {}
    """Labels of the steps' pods, beside ``app.kubernetes.io/name``, ``app.kubernetes.io/component`` and
    ``reprune.dev/workload``."""

    deadline: Duration = "3d"
    """After this long a whole run is ended. It also ends runs that wait for a node that does not exist."""

    keep_pods: Duration = "7d"
    """How long the pods of a run are kept after its end, for their logs."""

    steps: dict[StepName, Needs] = {}
    """What single steps need, where it differs from their defaults."""

    train_job: TrainJob | None = None
    """Have the dense model trained by a TrainJob; by default the step trains it itself."""

    targets: dict[str, Place] = {}
    """Where each target is measured, by the target's key, such as ``cpu-1-thread-batch-32``."""

    def needs(self, step: str, *, target: str | None = None, threads: int = 1) -> Needs:
        """Return all that a step needs: its defaults, what the workload says of it, and of its target.

        Args:
            step: Name of the step.
            target: Key of the target that it measures, if it does.
            threads: Threads of that target.
        """
        needs = _DEFAULTS[step]
        if step in MEASURING:
            needs = needs.model_copy(update={"cpu": str(threads + 1)})  # a core for what is not measured
        own = {str(name): section for name, section in self.steps.items()}
        for section in (own.get(step), self.targets.get(target or "")):
            if section:
                needs = needs.model_copy(update=_set(section))
        return needs


def whole_cores(cpu: str) -> int:
    """Return how many threads a request for cores is good for, at least one."""
    cores = float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
    return max(math.ceil(cores), 1)


def _set(section: BaseModel) -> dict[str, Any]:
    """Return what differs from the section's defaults."""
    fields = type(section).model_fields
    return {name: value for name, value in section if value != fields[name].default}
