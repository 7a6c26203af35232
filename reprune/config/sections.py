"""The sections of a workload file, one class each."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from reprune.config.limits import LatencyLimit, SizeLimit

MOST_ROUNDS = 100


def _rounds(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_ROUNDS):
        return value
    raise ValueError(f"is not a number of rounds; give 1 to {MOST_ROUNDS}, or auto")


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

    temperature: float | None = Field(None, gt=0)
    """Softening of both outputs in the distillation loss; by default 1 for language models, and 2 otherwise."""

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
