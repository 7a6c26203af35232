"""The user's contract: a model, data and a budget, in one YAML file that names Python entry points."""

import difflib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from reprune.cluster import Cluster
from reprune.drift.policy import DriftPolicy
from reprune.errors import InputError
from reprune.gate.policy import GatePolicy
from reprune.hardware.target import Target
from reprune.quantity import LatencyLimit, SizeLimit
from reprune.savings import Serving
from reprune.watch.policy import WatchPolicy

SHIPPED = "reprune.workloads"
SPLITS = ("train", "validation", "test", "production")
Split = Literal["train", "validation", "test", "production"]
MOST_ROUNDS = 100
TASKS = ("classification", "regression", "language-modeling")

_ENTRY_POINT = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


def _entry_point(text: str) -> str:
    if not _ENTRY_POINT.match(text):
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


def _rounds(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_ROUNDS):
        return value
    raise ValueError(f"is not a number of rounds; give 1 to {MOST_ROUNDS}, or auto")


EntryPoint = Annotated[str, AfterValidator(_entry_point)]
Rounds = Annotated[Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | Literal["auto"], BeforeValidator(_rounds)]


class Section(BaseModel):
    """A section of the workload file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Budget(Section):
    """What the pruned model may cost, and what it may lose."""

    latency: LatencyLimit = LatencyLimit.model_validate("0.5x")
    """Upper limit of the median latency on every target: relative to dense (``0.5x``) or absolute (``4ms``)."""

    size: SizeLimit | None = None
    """Upper limit of the served ONNX file: relative to dense (``0.5x``) or absolute (``50MB``)."""

    accuracy_drop: float = Field(0.01, ge=0, lt=1)
    """Accuracy that may be lost against the dense model, as a share (0.01 is one point)."""


class Train(Section):
    """How the dense model is trained; skipped when ``weights`` are given."""

    epochs: int = Field(30, ge=1)
    """Passes over the train split."""

    batch_size: int = Field(64, ge=1)
    """Examples a step."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    """``sgd`` has Nesterov momentum 0.9; the learning rate follows one cosine with a short warm-up."""

    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate."""

    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay; norms and biases are left out."""

    clip_norm: float | None = Field(5.0, gt=0)
    """Largest norm of the gradient of one step; null for no clipping."""

    micro_batch: int | None = Field(None, ge=1)
    """Most examples that are computed at once; gradients of a batch are added up. By default the whole batch, and less
    once memory runs out."""

    processes: int = Field(1, ge=1)
    """Processes of one machine that share each batch, for training and recovery; the result is that of one process but
    for rounding."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """What forward passes compute in. ``bfloat16`` needs a processor with instructions for it (AMX, AVX512-BF16), and
    for some networks it is slower there, too: measure before."""

    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an average of the weights, which is validated and kept in place of the last ones; 0.99, say."""

    def decisive(self) -> dict[str, Any]:
        """Return what decides the result: with another number of processes, a training goes on where it stopped."""
        return self.model_dump(mode="json", exclude={"processes"})


class Prune(Section):
    """How the iterative pruner goes from dense to the budget."""

    criterion: str = "taylor"
    """Saliency that ranks the channels of a group: ``taylor``, ``fisher``, ``l1``, ``l2``, ``random`` ..."""

    rounds: Rounds = "auto"
    """Rounds of cut and recover on the way to the planned widths. ``auto``: more is cut at once while recovery is easy,
    less when it is not, and a round that cannot recover is taken back."""

    schedule: Literal["one-shot", "constant", "cubic", "agp"] = "cubic"
    """How the cells to cut are shared out over so many rounds. ``constant``: as many in each; ``cubic``: most of them
    early (Zhu & Gupta 2017); ``agp``: as cubic, but cut after every epoch; ``one-shot``: all at once, with the epochs
    of all rounds to recover."""

    epochs: int = Field(2, ge=0)
    """Epochs of recovery in each round; a round that did not recover gets as many once more."""

    score_drop: float | None = Field(None, ge=0)
    """Drop of the mean validation score below the dense model's, after recovery, from which on a round has failed; the
    benefit of the doubt that few examples leave comes on top. By default five points or twice
    ``budget.accuracy_drop``, whichever is more: the fine-tuning that follows brings back more than a round does."""

    cost_limit: float = Field(2.0, gt=0)
    """Most that all recovery may cost, fine-tuning included; 1 is what training the dense model for ``train.epochs``
    costs. It is counted in multiply-accumulates: three forward passes an example, one more for the teacher."""

    examples: int = Field(512, ge=1)
    """Training examples that saliency is computed on, and validation examples that sensitivity is measured on."""

    @model_validator(mode="after")
    def _possible(self) -> "Prune":
        if self.rounds == "auto" and self.schedule != "cubic":
            raise ValueError(f"has schedule {self.schedule!r}, which needs a number of rounds; set `rounds`")
        if self.schedule == "agp" and not self.epochs:
            raise ValueError("has schedule 'agp', which cuts after every epoch, but `epochs` is 0; allow one at least")
        return self


class Finetune(Section):
    """The final recovery, distilled from the dense model."""

    epochs: int = Field(10, ge=0)
    """Passes over the train split."""

    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; by default a third of the one that trained the dense model."""

    distillation: float = Field(0.7, ge=0, le=1)
    """Weight of the dense model's own outputs in the loss; the rest is the task's loss on the labels."""

    temperature: float = Field(2.0, gt=0)
    """Softening of both outputs in the distillation loss."""

    match: tuple[str, ...] = ()
    """Modules that return hidden states ``[examples, positions, width]``, such as the layers of a transformer, where
    the model learns from the dense one how alike the positions are, too."""

    match_weight: float = Field(1.0, ge=0)
    """Weight of that in the loss, beside the rest."""

    calibrate: bool = False
    """Divide the logits of a classifier by the temperature that suits the validation split best, inside its last layer:
    probabilities mean what they say, predictions stay the same."""


class Quantize(Section):
    """The candidate in fewer bits, served in place of float where it is faster and loses little."""

    format: Literal["int8", "dynamic-int8", "weights-int8", "weights-int4"] = "int8"
    """``int8``: weights and activations, ranges from the train split, for convolutions. ``dynamic-int8``: ranges found
    anew by each inference, for transformers. ``weights-int8``, ``weights-int4``: weights of linear layers alone."""

    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    """How ``int8`` takes the range of an activation from what it sees."""

    examples: int = Field(256, ge=1)
    """Examples of the train split that ``int8`` takes ranges from."""

    accuracy_drop: float = Field(0.005, ge=0, lt=1)
    """Accuracy that may be lost on validation against the float candidate, as a share; operators stay in float until
    that holds."""

    epochs: int | None = Field(None, ge=0)
    """Epochs of quantization-aware fine-tuning where that much is lost all the same, by default a quarter of
    ``finetune.epochs``; 0 for none. Formats that quantize weights alone have none."""


class Promotion(Section):
    """What becomes of a candidate that the gate let through."""

    approval: Literal["automatic", "manual"] = "automatic"
    """``manual``: it waits in the registry until somebody says ``reprune approve``."""

    keep: int = Field(20, ge=2)
    """Versions that stay in the registry, by age; older ones are deleted after a promotion, but never the champion, the
    one before it, a canary, or what waits for approval."""


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
        if value in TASKS or _ENTRY_POINT.match(value):
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
    """Share of ``train.epochs`` and of ``finetune.epochs`` that a cycle takes which goes on from the one before: from
    its dense model, and by its champion's recipe where that still serves. 0 begins every cycle anew."""

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
        return parse(self.model_dump(mode="json") | changes, origin=self.name)


_E = TypeVar("_E", bound=Evaluation)


def shipped() -> list[str]:
    """Return the names of the workloads that come with reprune."""
    folder = resources.files(SHIPPED)
    return sorted(item.name.replace("_", "-") for item in folder.iterdir() if (item / "workload.yaml").is_file())


def load(reference: str) -> Workload:
    """Return a workload by the name of a shipped one, or from a YAML file.

    Raises:
        InputError: No such workload or file, or its contents are not a workload.
    """
    return parse(_raw(reference), origin=reference)


def load_evaluation(reference: str) -> Evaluation:
    """Return what models are judged by: a workload as in `load`, or a YAML file with those of its keys alone.

    Raises:
        InputError: No such workload or file, or its contents are neither.
    """
    raw = _raw(reference)
    if isinstance(raw, dict) and "model" not in raw:
        return _validated(Evaluation, raw, origin=reference)
    return parse(raw, origin=reference)


def parse(raw: Any, *, origin: str) -> Workload:
    """Validate the contents of a workload file.

    Args:
        raw: The parsed YAML or JSON.
        origin: Where it comes from, for messages.

    Raises:
        InputError: Naming every offending key, its value and the remedy.
    """
    return _validated(Workload, raw, origin=origin)


def _raw(reference: str) -> Any:
    if reference in shipped():
        text = (resources.files(SHIPPED) / reference.replace("-", "_") / "workload.yaml").read_text()
        return _yaml(text, reference)
    path = Path(reference)
    if not path.is_file():
        guess = difflib.get_close_matches(reference, shipped(), n=1)
        hint = f"did you mean {guess[0]}? Otherwise " if guess else ""
        raise InputError(
            f"There is no workload {reference!r}: it is neither a file nor one of {', '.join(shipped())}.",
            f"{hint}name a YAML file; `reprune init` writes one to start from.",
        )
    raw = _yaml(path.read_text(), reference)
    if isinstance(raw, dict):
        folder = path.resolve().parent
        raw["code"] = str((folder / str(raw.get("code") or ".")).resolve())
        if raw.get("weights") is not None:
            raw["weights"] = _beside(folder, raw["weights"])
        if isinstance(raw.get("splits"), dict):
            raw["splits"] = {split: _beside(folder, where) for split, where in raw["splits"].items()}
        if isinstance(raw.get("expectations"), dict):
            raw["expectations"] = {split: _suite(folder, split, it) for split, it in raw["expectations"].items()}
    return raw


def _suite(folder: Path, split: str, suite: Any) -> Any:
    """Read the suite of a split where a file is named."""
    if not isinstance(suite, str):
        return suite
    path = folder / suite
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"expectations.{split}: {path} cannot be read: {error}",
            "Name a JSON file; `reprune expectations` writes one for each split.",
        ) from None


def _validated(kind: type[_E], raw: Any, *, origin: str) -> _E:
    if not isinstance(raw, dict):
        raise InputError(f"{origin} is not a workload: it holds no keys.", "`reprune init` writes one to start from.")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise InputError(
            f"{origin} is not a valid workload:\n" + "\n".join(f"  - {line}" for line in lines),
            "`reprune schema` prints every key; docs/bring-your-own-model.md explains them.",
        ) from None


def schema() -> dict[str, Any]:
    """Return the JSON schema of a workload file, for editors."""
    generated = Workload.model_json_schema(mode="validation")
    return json.loads(json.dumps(generated)) | {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def _yaml(text: str, origin: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{origin} is not YAML: {error}", "Mend the line it names.") from None


def _beside(folder: Path, where: Any) -> Any:
    """Make a file name absolute; leave URIs and entry points as they are."""
    if not isinstance(where, str) or "://" in where or _ENTRY_POINT.match(where):
        return where
    return str((folder / where).resolve())


def _explain(item: Any) -> str:
    """Turn one pydantic error into a line that names the key, the value and the remedy."""
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] == "extra_forbidden":
        guess = difflib.get_close_matches(path[-1], _keys(path[:-1]), n=1)
        return f"{key} is not a key" + (
            f"; did you mean {guess[0]}?" if guess else f" of {'.'.join(path[:-1]) or 'a workload'}."
        )
    if item["type"] == "missing":
        return f"{key} is missing."
    message = item["msg"].removeprefix("Value error, ")
    given = "" if isinstance(item["input"], dict) else f"{item['input']!r} "
    return f"{key}: {given}{message[0].lower()}{message[1:]}"


def _keys(path: list[str]) -> list[str]:
    """Return the keys of the section at a path."""
    model: Any = Workload
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        model = next(
            (m for m in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(m, "model_fields")),
            model,
        )
    return list(model.model_fields)
