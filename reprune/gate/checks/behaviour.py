"""How the candidate behaves beyond its accuracy: where it changed its mind, and whether its confidence holds."""

from functools import partial

import numpy as np

from reprune.gate import statistics, words
from reprune.gate.calibration import calibration_rise
from reprune.gate.evidence import CANDIDATE, DENSE, Evidence
from reprune.gate.policy import GatePolicy
from reprune.gate.verdict import Check, Status


def disagreement(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check what share of predictions differ from the dense model's, right or wrong."""
    check = partial(Check, name="disagreement", family="disagreement", severity=policy.disagreement)
    changed = evidence.answers[CANDIDATE].changed
    if changed is None:
        return [check(status="skipped", statement=f"a {evidence.metric} task has no predictions to agree on")]
    share = statistics.mean_interval(changed, confidence=2 * policy.confidence - 1)
    limit = policy.disagreement_limit
    status = _three_way(share.value, share.high, limit)
    said = f"{CANDIDATE} predicts otherwise than dense on {words.percent(share.value)} "
    said += f"({words.bound(policy.confidence)} {words.percent(share.high)}, allowed {words.percent(limit)})"
    return [
        check(
            status=status,
            statement=said + _inside(evidence, changed),
            estimate=share.value,
            low=share.low,
            high=share.high,
            threshold=limit,
            margin=limit - share.high,
            unit="share",
            examples=evidence.examples,
        )
    ]


def calibration(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check the rise of the expected calibration error, and of the loss."""
    return [_expected_error(evidence, policy), _loss(evidence, policy)]


def _expected_error(evidence: Evidence, policy: GatePolicy) -> Check:
    check = partial(Check, name="calibration error", family="calibration", severity=policy.calibration)
    dense, candidate = evidence.answers[DENSE], evidence.answers[CANDIDATE]
    if dense.confidence is None or candidate.confidence is None:
        return check(status="skipped", statement="there are no class probabilities to calibrate")
    if not (np.isfinite(dense.confidence).all() and np.isfinite(candidate.confidence).all()):
        return check(status="failed", statement="the confidence of some examples is not a number")
    rise = calibration_rise(dense.confidence, dense.scores, candidate.confidence, candidate.scores, policy.confidence)
    limit = policy.calibration_rise
    return check(
        status=_three_way(rise.drop, rise.high, limit),
        statement=f"calibration error went from {words.percent(rise.candidate)} to {words.percent(rise.reference)} "
        f"(a rise of at most {words.points(rise.high)} points, allowed {words.points(limit)})",
        estimate=rise.drop,
        low=rise.low,
        high=rise.high,
        threshold=limit,
        margin=limit - rise.high,
        unit="share",
        examples=evidence.examples,
    )


def _loss(evidence: Evidence, policy: GatePolicy) -> Check:
    check = partial(Check, name="loss", family="calibration", severity=policy.calibration)
    dense, candidate = evidence.answers[DENSE].losses, evidence.answers[CANDIDATE].losses
    if not (np.isfinite(dense).all() and np.isfinite(candidate).all()):
        return check(status="failed", statement="the loss of some examples is not finite")
    rise = statistics.compare(candidate, dense, policy.confidence)
    limit = policy.loss_rise
    return check(
        status=_three_way(rise.drop, rise.high, limit),
        statement=f"mean loss went from {words.plain(rise.candidate)} to {words.plain(rise.reference)} "
        f"(a rise of at most {words.plain(rise.high)}, allowed {words.plain(limit)})",
        estimate=rise.drop,
        low=rise.low,
        high=rise.high,
        threshold=limit,
        margin=limit - rise.high,
        unit="loss",
        examples=evidence.examples,
    )


def _three_way(estimate: float, high: float, limit: float) -> Status:
    if high <= limit:
        return "passed"
    return "failed" if estimate > limit else "inconclusive"


def _inside(evidence: Evidence, changed: np.ndarray) -> str:
    """Tell who is right where the two differ; pruning's damage hides there (Hooker et al. 2019, arXiv:1911.05248)."""
    dense, candidate = evidence.answers[DENSE], evidence.answers[CANDIDATE]
    if dense.predicted is None or not changed.any():
        return ""
    differ = changed > 0
    right = [int(answers.scores[differ].sum()) for answers in (dense, candidate)]
    return f"; of these {int(differ.sum()):,}, dense is right on {right[0]:,} and {CANDIDATE} on {right[1]:,}"
