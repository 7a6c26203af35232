"""What the gate asks of a candidate; every key has a default."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from reprune.config.limits import LatencyLimit, SizeLimit


def _off(value: Any) -> Any:
    """Read what YAML makes of ``off`` and ``no`` as the word that was meant."""
    return "off" if value is False or value in ("no", "false") else value


Severity = Annotated[Literal["block", "warn", "off"], BeforeValidator(_off)]
"""What a check that does not pass does: stop the promotion, say so, or not be made at all."""

CHECKS = (
    *("quality", "champion", "slices", "disagreement", "calibration"),
    "robustness",
    *("latency", "tail_latency", "extreme_latency", "service", "size", "parity", "serving"),
)
"""Families of checks: the keys of the policy that hold a severity."""


class GatePolicy(BaseModel):
    """The ``gate`` section of a workload: which checks decide, and what each of them allows.

    Accuracy, latency and size are limited by the workload's ``budget``; here stands how they are judged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of every bound that must clear its limit; an inferior model passes at most with the rest, 5 %."""

    minimum_examples: int = Field(20, ge=2)
    """Fewest examples that anything is concluded from, overall and in each slice."""

    quality: Severity = "block"
    """Accuracy against the dense model, paired; at most ``budget.accuracy_drop`` may be lost."""

    champion: Severity = "block"
    """Accuracy against the champion, paired; at most ``champion_drop`` may be lost. Skipped while there is none."""

    champion_drop: float | None = Field(None, ge=0, lt=1)
    """Accuracy that may be lost against the champion, as a share; ``budget.accuracy_drop`` by default."""

    slices: Severity = "block"
    """Accuracy in each class and slice; fails where more than ``slice_drop`` is shown to be lost there (Holm's
    correction over all slices). It blocks because the overall accuracy hides a lost class; and safely so, since what
    chance explains never fails: an equal model is refused by the slices in far fewer than 5 % of cases."""

    slice_drop: float | None = Field(None, ge=0, lt=1)
    """Accuracy that may be lost in one slice, as a share; ``budget.accuracy_drop`` by default."""

    disagreement: Severity = "warn"
    """Share of predictions that differ from the dense model's, right or wrong. It warns because a change may as well
    be for the better; the quality checks tell."""

    disagreement_limit: float = Field(0.05, gt=0, le=1)
    """Largest share of predictions that may differ."""

    calibration: Severity = "warn"
    """Rise of the expected calibration error, of the Brier score and of the loss against the dense model. It warns
    because only who reads the probabilities is harmed: set it to block where thresholds or costs rest on them."""

    calibration_rise: float = Field(0.02, ge=0, le=1)
    """Largest rise of the expected calibration error, as a share."""

    brier_rise: float = Field(0.02, ge=0)
    """Largest rise of the Brier score (Brier 1950): squared distance between probabilities and the label, 0 to 2."""

    loss_rise: float = Field(0.05, ge=0)
    """Largest rise of the mean loss per example, in the loss's own unit (nats for classification and language)."""

    robustness: Severity = "warn"
    """Whether the candidate loses more than the dense model where inputs are corrupted or come from production, by at
    most ``robustness_drop`` (Holm's correction over the conditions). It warns because the corruptions are guesses at
    what production brings."""

    robustness_drop: float = Field(0.05, ge=0, lt=1)
    """Largest excess of the candidate's loss of accuracy over the dense model's under a condition, as a share. It
    exceeds the overall tolerance because fewer examples are run so, and answers there are less certain."""

    latency: Severity = "block"
    """Median latency on every target against ``budget.latency``, and outside the spread of two identical models."""

    tail_latency: Severity = "block"
    """95th percentile of the latency on every target, against ``tail_latency_limit``."""

    tail_latency_limit: LatencyLimit = LatencyLimit.model_validate("1x")
    """Upper limit of the 95th percentile: relative to the dense model's own (``1x``) or absolute (``8ms``)."""

    extreme_latency: Severity = "block"
    """99th percentile of the latency on every target, against ``extreme_latency_limit``. Few samples lie beyond it: it
    blocks where an excess is shown, that is the whole interval lies over the limit, and warns while there is doubt."""

    extreme_latency_limit: LatencyLimit = LatencyLimit.model_validate("1x")
    """Upper limit of the 99th percentile: relative to the dense model's own (``1x``) or absolute (``20ms``)."""

    service: Severity = "block"
    """Throughput, peak memory and cold start on every target, as far as the keys below limit them; single figures of
    the benchmark, compared as they are."""

    throughput_at_least: float | None = Field(None, gt=0)
    """Fewest examples a second, one inference after the other."""

    peak_memory_limit: SizeLimit | None = None
    """Upper limit of the memory that opening the file and answering takes, relative or absolute (``200MB``)."""

    cold_start_limit: LatencyLimit | None = None
    """Upper limit of the time from opening the file to the first answer: relative (``1x``) or absolute (``0.5s``)."""

    size: Severity = "block"
    """Size of the ONNX file against ``budget.size``; skipped while the budget names none."""

    parity: Severity = "block"
    """Whether torch and ONNX Runtime answer alike."""

    parity_error: float = Field(1e-3, gt=0)
    """Largest difference of any output, relative to the largest output (or to 1 where outputs are smaller)."""

    parity_agreement: float = Field(0.999, gt=0, le=1)
    """Smallest share of equal predictions between torch and ONNX Runtime."""

    quantization_agreement: float = Field(0.98, ge=0, le=1)
    """Smallest share of equal predictions between the float file and the quantized one that is served."""

    quantization_error: float = Field(0.25, gt=0)
    """Largest difference of any output between the two, relative to the largest output."""

    serving: Severity = "block"
    """Whether a fresh process with the target's threads opens the file and repeats recorded answers."""

    @model_validator(mode="after")
    def _blocks_on_something(self) -> Self:
        asked = (name for name in CHECKS if name != "service" or self.limits_service)
        if "block" not in (getattr(self, name) for name in asked):
            raise ValueError(
                f"blocks on nothing, so every candidate would pass; set one of {', '.join(CHECKS)} to block"
            )
        return self

    @property
    def limits_service(self) -> bool:
        """Whether any limit of the service is given."""
        return any((self.throughput_at_least, self.peak_memory_limit, self.cold_start_limit))

    def severity(self, check: str) -> Severity:
        """Return what a family of checks does when it does not pass."""
        assert check in CHECKS
        severity: Severity = getattr(self, check)
        return severity
