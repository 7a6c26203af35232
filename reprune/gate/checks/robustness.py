"""Whether the candidate suffers more than the dense model where inputs are corrupted or come from production."""

import math
from typing import Any

import numpy as np
from scipy import stats

from reprune import formatting
from reprune.config.gate import GatePolicy
from reprune.gate import confidence_intervals
from reprune.gate.checks.quality import form
from reprune.gate.confidence_intervals import Interval
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE, DENSE
from reprune.gate.robustness_conditions import Condition
from reprune.gate.verdict import Check, Status


def conditions(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check under each condition how much more the candidate loses than the dense model: a difference in differences.

    A condition passes where the excess is shown to be within the limit, at the policy's confidence over all conditions.
    """
    if not evidence.conditions:
        statement = "there are no corruptions for such inputs, and no production window"
        return [
            Check(
                name="robustness",
                family="robustness",
                severity=policy.robustness,
                status="skipped",
                statement=statement,
            )
        ]
    excess, errors = {}, {}
    for name, condition in evidence.conditions.items():
        if not _why_not(condition, evidence, policy):
            excess[name], errors[name] = _excess(condition, evidence, policy)
    raw = [float(stats.norm.cdf((excess[it].value - policy.robustness_drop) / errors[it])) for it in excess]
    adjusted = dict(zip(excess, confidence_intervals.holm(raw), strict=True))
    return [
        _judged(name, condition, excess[name], adjusted[name], evidence, policy)
        if name in excess
        else _skipped(name, _why_not(condition, evidence, policy), policy)
        for name, condition in evidence.conditions.items()
    ]


def _why_not(condition: Condition, evidence: Evidence, policy: GatePolicy) -> str:
    """Return why a condition cannot be judged; empty where it can."""
    if len(condition.dense) < policy.minimum_examples:
        examples = formatting.count(len(condition.dense), "example")
        return f"{examples} are too few to judge ({policy.minimum_examples} needed)"
    if not condition.labelled:
        return "dense is right no more often than by chance, so the labels tell nothing"
    before = (evidence.answers[name].scores for name in (DENSE, CANDIDATE))
    if not all(np.isfinite(scores).all() for scores in (condition.dense, condition.candidate, *before)):
        return "scores are not all finite"
    return ""


def _excess(condition: Condition, evidence: Evidence, policy: GatePolicy) -> tuple[Interval, float]:
    """Return how much more the candidate loses than the dense model, with one-sided bounds, and its standard error.

    Corrupted examples are paired with themselves; those of production are others, so that variances add (Welch).
    """
    before = evidence.answers[DENSE].scores - evidence.answers[CANDIDATE].scores
    after = condition.dense - condition.candidate
    if condition.corrupted:
        value, error = _mean(after - before[: len(after)])
    else:
        (late, late_error), (early, early_error) = _mean(after), _mean(before)
        value, error = late - early, math.hypot(late_error, early_error)
    half = float(stats.norm.ppf(policy.confidence)) * error
    found = Interval(
        value=value, low=value - half, high=value + half, confidence=policy.confidence, examples=len(after)
    )
    return found, error


def _mean(differences: np.ndarray) -> tuple[float, float]:
    """Return a mean and its standard error.

    Whole numbers, as of right and wrong answers, are taken with one more in each direction (after Agresti and Min 2005,
    Biometrics 61:515): where by chance none has changed, the error is not nought.
    """
    shown = np.r_[differences, 1.0, -1.0] if (differences == differences.round()).all() else differences
    error = float(shown.std(ddof=1)) / math.sqrt(len(shown))
    return float(shown.mean()), max(error, np.finfo(np.float64).tiny)


def _judged(
    name: str, condition: Condition, found: Interval, p_value: float, evidence: Evidence, policy: GatePolicy
) -> Check:
    write, unit = form(evidence)
    limit = policy.robustness_drop
    status: Status = (
        "passed" if p_value <= 1 - policy.confidence else "failed" if found.value > limit else "inconclusive"
    )
    clean = slice(len(condition.dense)) if condition.corrupted else slice(None)
    losses = {
        DENSE: evidence.answers[DENSE].scores[clean].mean() - condition.dense.mean(),
        CANDIDATE: evidence.answers[CANDIDATE].scores[clean].mean() - condition.candidate.mean(),
    }
    said = f"{name}: dense loses {write(losses[DENSE])} {unit}, {CANDIDATE} {write(losses[CANDIDATE])}; "
    said += f"{formatting.bound(policy.confidence)} of the excess {write(found.high)}, allowed {write(limit)}, "
    said += f"on {formatting.count(found.examples, 'example')}"
    if status == "inconclusive":
        said += ": too few to tell, all conditions taken together"
    return Check.measured(
        found, limit, **_about(name, policy), status=status, statement=said, unit="share", examples=found.examples
    )


def _skipped(name: str, why: str, policy: GatePolicy) -> Check:
    return Check(**_about(name, policy), status="skipped", statement=f"{name}: {why}")


def _about(name: str, policy: GatePolicy) -> dict[str, Any]:
    return {"name": f"robustness: {name}", "family": "robustness", "severity": policy.robustness}
