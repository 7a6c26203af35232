"""The keys of a workload file: a model, data and a budget, with Python entry points named in it."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from reprune.config.cluster import Cluster
from reprune.config.drift import DriftPolicy
from reprune.config.gate import GatePolicy
from reprune.config.monitor import WatchPolicy
from reprune.config.sections import Budget, Finetune, Promotion, Prune, Quantize, Section, Train
from reprune.config.serving import Serving
from reprune.config.target import Target
from reprune.config.validation_errors import validated

SPLITS = ("train", "validation", "test", "production")
Split = Literal["train", "validation", "test", "production"]
TASKS = ("classification", "regression", "language-modeling")

ENTRY_POINT = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def _entry_point(text: str) -> str:
    if not ENTRY_POINT.match(text):
        raise ValueError("is not an entry point; write it like my_project.models:build")
    return text


def _or_one(schema: dict[str, Any]) -> None:
    """Let the JSON schema of a list take a single item too."""
    schema["anyOf"] = [{"type": schema.pop("type"), "items": schema["items"], "minItems": 1}, schema.pop("items")]


def _or_files(schema: dict[str, Any]) -> None:
    """Let the JSON schema take the name of a file in place of a suite."""
    suite = schema["additionalProperties"]
    schema["additionalProperties"] = {"anyOf": [{"type": "string"}, suite]}


def _or_format(schema: dict[str, Any]) -> None:
    """Let the JSON schema take the name of a format in place of the section."""
    schema["anyOf"].insert(0, {"enum": ["int8", "dynamic-int8", "weights-int8", "weights-int4"]})


EntryPoint = Annotated[str, AfterValidator(_entry_point)]


class Evaluation(Section):
    """What models are judged by: data, a task, targets, and what may be lost. A workload without a model."""

    name: str = Field("model", max_length=63)
    """What it is called in reports: lower-case letters, digits and dashes."""

    data: EntryPoint | None = None
    """``module:callable`` that takes a split's name and returns a dataset of ``(input, target)``; not needed where
    ``splits`` names the data."""

    code: str | None = None
    """Folder that the entry points are imported from; by default the folder of this file."""

    task: str = "classification"
    """``classification``, ``regression``, ``language-modeling``, or ``module:object`` for a task of your own."""

    slices: EntryPoint | None = None
    """``module:callable`` that takes the test dataset and returns named parts of it that the gate watches one by one: a
    dict of boolean masks, one entry an example."""

    splits: dict[Split, str] = {}
    """Splits that come from elsewhere: an ``.npz`` file with ``inputs`` and ``targets``, or an entry point."""

    target: Annotated[tuple[Target, ...], Field(json_schema_extra=_or_one)] = (Target(),)
    """Where the model is served: one target, or a list."""

    budget: Budget = Budget()
    gate: GatePolicy = GatePolicy()

    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of everything random."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ValueError("is not a name; use lower-case letters, digits and dashes, like my-model")
        return value

    @field_validator("target", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, (dict, Target)) else value

    @field_validator("target")
    @classmethod
    def _some(cls, value: tuple[Target, ...]) -> tuple[Target, ...]:
        if not value:
            raise ValueError("is empty; name at least one target, or leave it out for one CPU thread")
        if len({target.label() for target in value}) < len(value):
            raise ValueError("names the same target twice; remove one")
        return value

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        if value in TASKS or ENTRY_POINT.match(value):
            return value
        raise ValueError(f"is not a task; use one of {', '.join(TASKS)}, or module:object for your own")


class Workload(Evaluation):
    """A model and data to keep pruned."""

    name: str = Field(max_length=63)
    """Name in the registry: lower-case letters, digits and dashes."""

    model: EntryPoint
    """``module:callable`` that takes nothing and returns a ``torch.nn.Module`` with its own initial weights."""

    data: EntryPoint
    """``module:callable`` that takes a split's name (train, validation, test, production) and returns a dataset of
    ``(input, target)``; it raises ``KeyError`` or returns ``None`` where there is no production data."""

    weights: str | None = None
    """Weights of a model that is trained already, on disk or on S3: a ``.safetensors`` file or a saved ``state_dict``.
    Training is skipped."""

    train: Train = Train()
    prune: Prune = Prune()
    finetune: Finetune = Finetune()

    expectations: Annotated[dict[Split, tuple[dict[str, Any], ...]], Field(json_schema_extra=_or_files)] = {}
    """What Great Expectations asks of a split, in place of what is inferred from the data: a JSON file for each split,
    as `reprune expectations` writes them. They travel with the workload."""

    drift: DriftPolicy = DriftPolicy()
    monitor: WatchPolicy = WatchPolicy()

    warm_start: float = Field(0.3, ge=0, le=1)
    """Share of ``train.epochs``, of ``finetune.epochs`` and of the learning rate of fine-tuning, for a cycle that goes
    on from the one before: from its dense model, and from its champion's pruned weights where those still serve. 0
    begins every cycle anew."""

    promotion: Promotion = Promotion()
    serving: Serving | None = None
    """Request rate and price, for an estimate of what pruning saves."""

    cluster: Cluster = Cluster()

    @field_validator("finetune")
    @classmethod
    def _logits_to_scale(cls, value: Finetune, info: ValidationInfo) -> Finetune:
        if value.calibrate and info.data.get("task", "classification") != "classification":
            raise ValueError("has calibrate, which only classification has logits for; remove it")
        return value

    @field_validator("cluster")
    @classmethod
    def _places_of_targets(cls, value: Cluster, info: ValidationInfo) -> Cluster:
        known = [target.key() for target in info.data.get("target", ())]
        unknown = [key for key in value.targets if key not in known]
        if known and unknown:
            raise ValueError(f"names {', '.join(unknown)}, which is no target; there is {', '.join(known)}")
        return value

    quantize: Annotated[Quantize | None, Field(json_schema_extra=_or_format)] = None
    """Fewer bits on top of pruning: a format such as ``int8``, or a section; float only by default."""

    @field_validator("quantize", mode="before")
    @classmethod
    def _format_alone(cls, value: Any) -> Any:
        return {"format": value} if isinstance(value, str) else value

    def replace(self, **changes: Any) -> "Workload":
        """Return a copy with some keys changed, validated like a new one."""
        return validated(Workload, self.model_dump(mode="json") | changes, origin=self.name)
