"""How the candidate behaves beyond its accuracy: where it changed its mind, and whether its confidence holds."""

from typing import Any

import numpy as np

from reprune import formatting
from reprune.config.gate import GatePolicy
from reprune.gate import confidence_intervals
from reprune.gate.calibration_error import calibration_rise
from reprune.gate.confidence_intervals import Comparison
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE, DENSE
from reprune.gate.verdict import Bounded, Check, Status


def disagreement(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check what share of predictions differ from the dense model's, right or wrong."""
    about: dict[str, Any] = {"name": "disagreement", "family": "disagreement", "severity": policy.disagreement}
    changed = evidence.answers[CANDIDATE].changed
    if changed is None:
        statement = f"a {evidence.metric} task has no predictions to agree on"
        return [Check(status="skipped", statement=statement, **about)]
    share = confidence_intervals.mean_interval(changed, confidence=2 * policy.confidence - 1)
    limit = policy.disagreement_limit
    said = f"{CANDIDATE} predicts otherwise than dense on {formatting.percent(share.value)} "
    said += (
        f"({formatting.bound(policy.confidence)} {formatting.percent(share.high)}, allowed {formatting.percent(limit)})"
    )
    said += _inside(evidence, changed)
    status = _three_way(share, limit)
    return [
        Check.measured(share, limit, **about, status=status, statement=said, unit="share", examples=evidence.examples)
    ]


def calibration(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check the rise of the expected calibration error, of the Brier score and of the loss."""
    dense, candidate = evidence.answers[DENSE], evidence.answers[CANDIDATE]
    checks = [_expected_error(evidence, policy)]
    if dense.brier is not None and candidate.brier is not None:
        limit = policy.brier_rise
        checks.append(_rise("Brier score", "squared distance", dense.brier, candidate.brier, limit, evidence, policy))
    return [*checks, _rise("loss", "loss", dense.losses, candidate.losses, policy.loss_rise, evidence, policy)]


def _expected_error(evidence: Evidence, policy: GatePolicy) -> Check:
    about: dict[str, Any] = {"name": "calibration error", "family": "calibration", "severity": policy.calibration}
    dense, candidate = evidence.answers[DENSE], evidence.answers[CANDIDATE]
    if dense.confidence is None or candidate.confidence is None:
        statement = "there are no class probabilities to calibrate"
        return Check(status="skipped", statement=statement, **about)
    if not (np.isfinite(dense.confidence).all() and np.isfinite(candidate.confidence).all()):
        statement = "the confidence of some examples is not a number"
        return Check(status="failed", statement=statement, **about)
    rise = calibration_rise(dense.confidence, dense.scores, candidate.confidence, candidate.scores, policy.confidence)
    limit = policy.calibration_rise
    before, now = (
        formatting.percent(max(it, 0)) for it in (rise.candidate, rise.reference)
    )  # chance may leave less than 0
    return Check.measured(
        rise,
        limit,
        **about,
        status=_three_way(rise, limit),
        statement=f"calibration error went from {before} to {now} "
        f"({_change(rise, formatting.points, 'points')}; allowed {formatting.points(limit)})",
        unit="share",
        examples=evidence.examples,
    )


def _rise(
    name: str,
    unit: str,
    dense: np.ndarray,
    candidate: np.ndarray,
    limit: float,
    evidence: Evidence,
    policy: GatePolicy,
) -> Check:
    """Check how much larger a mean error of the candidate is, paired."""
    about: dict[str, Any] = {
        "name": name,
        "family": "calibration",
        "severity": policy.calibration,
        "examples": evidence.examples,
    }
    if not (np.isfinite(dense).all() and np.isfinite(candidate).all()):
        statement = f"the {name} of some examples is not finite"
        return Check(status="failed", statement=statement, **about)
    rise = confidence_intervals.compare(candidate, dense, policy.confidence)
    said = f"mean {name} went from {formatting.plain(rise.candidate)} to {formatting.plain(rise.reference)} "
    said += f"({_change(rise, formatting.plain, '')}; allowed {formatting.plain(limit)})"
    return Check.measured(rise, limit, **about, status=_three_way(rise, limit), statement=said, unit=unit)


def _change(rise: Comparison, write: formatting.Form, unit: str) -> str:
    return f"a rise of at most {write(rise.high)} {unit}".rstrip()


def _three_way(found: Bounded, limit: float) -> Status:
    if found.high <= limit:
        return "passed"
    return "failed" if found.value > limit else "inconclusive"


def _inside(evidence: Evidence, changed: np.ndarray) -> str:
    """Tell who is right where the two differ; pruning's damage hides there (Hooker et al. 2019, arXiv:1911.05248)."""
    dense, candidate = evidence.answers[DENSE], evidence.answers[CANDIDATE]
    if dense.predicted is None or not changed.any():
        return ""
    differ = changed > 0
    right = [int(answers.scores[differ].sum()) for answers in (dense, candidate)]
    return f"; of these {int(differ.sum()):,}, dense is right on {right[0]:,} and {CANDIDATE} on {right[1]:,}"
