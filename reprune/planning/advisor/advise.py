"""From measured facts and a budget to a recommendation, with its reasons in plain words."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from reprune import formatting
from reprune.config.sections import Budget
from reprune.planning.advisor.facts import Facts

TRAINING = ("structured", "heads", "structured+int8")
"""Methods that need training to recover, and so cost a run."""

EFFECT = {
    "structured": "half of every group of channels cut",
    "heads": "half of the attention heads cut",
    "int8": "8-bit weights and activations, no training",
    "structured+int8": "half of the channels cut, then 8 bits",
    "unstructured": "90 % of the weights zero",
    "2:4": "two of every four weights zero",
}

Answer = Literal["nothing", "int8", "heads", "structured", "structured+int8"]


class Row(BaseModel):
    """A method, and what was measured of it here.

    Attributes:
        method: Its name.
        effect: What was done to the graph.
        latency_ratio: Latency divided by dense, with the interval below; None where it could not be tried.
        interval: 95 % interval of the ratio.
        size_ratio: Size of the file divided by dense.
        faster: Whether it is faster beyond what two identical models show.
        reason: What follows, in words.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    effect: str
    latency_ratio: float | None
    interval: tuple[float, float] | None
    size_ratio: float | None
    faster: bool
    reason: str


class Advice(BaseModel):
    """What to do for one target.

    Attributes:
        target: Its label.
        answer: The method to use.
        expected_ratio: Its latency divided by dense, as measured; None for nothing.
        reasons: Why, in sentences.
        rows: Every method.
        dense_seconds: Median latency of the dense model.
        control: How far from 1 the ratio of two identical models came.
    """

    model_config = ConfigDict(frozen=True)

    target: str
    answer: Answer
    expected_ratio: float | None
    reasons: tuple[str, ...]
    rows: tuple[Row, ...]
    dense_seconds: float
    control: tuple[float, float]


def advise(facts: Facts, budget: Budget, *, run_seconds: float | None = None, inferences: int | None = None) -> Advice:
    """Return what to do for one target.

    Args:
        facts: What was measured there.
        budget: What the model may cost.
        run_seconds: What a whole run took last time, where there was one.
        inferences: Inferences that will be served before the model is trained anew, where that is known.
    """
    measured = facts.benchmark
    dense = measured.models["dense"]
    rows = [_row(method, facts) for method in EFFECT]
    wanted = budget.latency.resolve(dense.p50_seconds.value) / dense.p50_seconds.value
    light = 1.0 if budget.size is None else budget.size.resolve(dense.size_bytes) / dense.size_bytes
    answer, reasons = _choose({row.method: row for row in rows}, wanted, light)
    chosen = next((row for row in rows if row.method == answer), None)
    ratio = chosen.latency_ratio if chosen else None
    if answer in TRAINING and ratio is not None:
        saved = (1 - ratio) * dense.p50_seconds.value
        against = _payback(saved, run_seconds, inferences)
        if against.startswith("Do not"):
            answer, ratio = "nothing", None
        reasons += [against] if against else []
    return Advice(
        target=measured.target.label(),
        answer=answer,
        expected_ratio=ratio,
        reasons=(*reasons, "Distillation changes weights and not the graph: it wins accuracy back, never time."),
        rows=tuple(rows),
        dense_seconds=dense.p50_seconds.value,
        control=(measured.noise.low, measured.noise.high),
    )


def _row(method: str, facts: Facts) -> Row:
    measured = facts.benchmark
    if method not in measured.models:
        reason = facts.missing.get(method, "it was not measured")
        return Row(
            method=method, effect=EFFECT[method], latency_ratio=None, interval=None, size_ratio=None, faster=False,
            reason=reason,
        )  # fmt: skip
    timing = measured.models[method]
    reason = measured.finding(method)
    if method in ("unstructured", "2:4") and not measured.faster(method):
        reason = f"{reason}: this runtime computes zeros like any other number"
    return Row(
        method=method,
        effect=EFFECT[method],
        latency_ratio=timing.latency_ratio.value,
        interval=(timing.latency_ratio.low, timing.latency_ratio.high),
        size_ratio=timing.size_bytes / measured.models["dense"].size_bytes,
        faster=measured.faster(method),
        reason=reason,
    )


def _choose(rows: dict[str, Row], wanted: float, light: float) -> tuple[Answer, list[str]]:
    """Take the least trouble that meets the budget: nothing, then no training, then training."""
    if wanted >= 1 and light >= 1:
        return "nothing", ["The dense model meets its budget already: do not prune."]
    order: tuple[Answer, ...] = ("int8", "heads", "structured", "structured+int8")
    helping = [method for method in order if rows[method].faster or (light < 1 and (rows[method].size_ratio or 1) < 1)]
    for method in helping:
        row = rows[method]
        assert row.latency_ratio is not None and row.size_ratio is not None
        if row.latency_ratio <= wanted and row.size_ratio <= light:
            return method, [_enough(method, row, wanted), *_caveats(method)]
    if not helping:
        return "nothing", ["No method makes this model faster here beyond the noise: do not prune it for speed."]
    best = min(helping, key=lambda method: rows[method].latency_ratio or 1.0)
    reached = formatting.times(rows[best].latency_ratio or 1.0)
    if best in TRAINING:
        told = f"At half width {reached} was measured; the budget of {formatting.times(wanted)} takes narrower cuts"
        return best, [f"{told}: `reprune plan` shows what they lose.", *_caveats(best)]
    told = f"{best} reaches {reached}, {formatting.times(wanted)} is allowed, and nothing that was tried comes nearer."
    return best, [told, *_caveats(best)]


def _enough(method: Answer, row: Row, wanted: float) -> str:
    kind = "without any training" if method not in TRAINING else "at half width, before anything finer is planned"
    reached = formatting.times(row.latency_ratio or 1)
    return f"{method} takes {reached} of the dense latency {kind}; {formatting.times(wanted)} is allowed."


def _caveats(method: Answer) -> list[str]:
    told = "What 8 bits do to accuracy was not measured here: compare both files on your data."
    return [told] if "int8" in method else []


def _payback(saved: float, run_seconds: float | None, inferences: int | None) -> str:
    """Say after how many inferences a run has paid for itself in compute time."""
    if run_seconds is None or saved <= 0:
        return ""
    needed = round(run_seconds / saved)
    cost = f"a run took {run_seconds / 60:.0f} min and saves {formatting.seconds(saved)} an inference"
    if inferences is not None and inferences < needed:
        return (
            f"Do not prune: {cost}, which pays after {formatting.about(needed)} inferences; "
            f"{inferences:,} are expected before the next training."
        )
    return (
        f"{cost[0].upper()}{cost[1:]}: it has paid for itself in compute after {formatting.about(needed)} inferences."
    )
