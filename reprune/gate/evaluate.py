"""From evidence to a verdict: every check that the policy asks for, and what follows."""

from collections.abc import Callable

from reprune.config.gate import GatePolicy
from reprune.config.sections import Budget
from reprune.errors import InputError
from reprune.gate.checks import artifact, behaviour, latency, quality, robustness, service
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE
from reprune.gate.verdict import Check, Verdict, conclude


def judge(evidence: Evidence, policy: GatePolicy, budget: Budget) -> Verdict:
    """Return the verdict on a candidate.

    Args:
        evidence: What was measured; `reprune.gate.evidence.collect` gathers it.
        policy: Which checks are made, and which of them block.
        budget: What the candidate may cost and lose.

    Raises:
        InputError: No check that blocks could be made, so that any candidate would pass.
    """
    families: dict[str, Callable[[], list[Check]]] = {
        "quality": lambda: quality.against_dense(evidence, policy, budget.accuracy_drop),
        "champion": lambda: quality.against_champion(evidence, policy, budget.accuracy_drop),
        "latency": lambda: latency.median(evidence, policy, budget.latency),
        "tail_latency": lambda: latency.tail(evidence, policy),
        "extreme_latency": lambda: latency.extreme(evidence, policy),
        "size": lambda: artifact.size(evidence, policy, budget.size),
        "parity": lambda: artifact.parity(evidence, policy),
        "serving": lambda: artifact.serving(evidence, policy),
        "disagreement": lambda: behaviour.disagreement(evidence, policy),
        "calibration": lambda: behaviour.calibration(evidence, policy),
        "robustness": lambda: robustness.conditions(evidence, policy),
        "service": lambda: service.limits(evidence, policy),
        "slices": lambda: quality.in_slices(evidence, policy, budget.accuracy_drop),
    }
    checks = [check for family, make in families.items() if policy.severity(family) != "off" for check in make()]
    if not any(check.severity == "block" and check.status != "skipped" for check in checks):
        raise InputError(
            "gate: every check that blocks was skipped, so any candidate would pass.",
            "Set gate.quality or gate.latency to block.",
        )
    return conclude(
        checks,
        candidate_sha256=evidence.sha256[CANDIDATE],
        bundle_sha256=evidence.bundle_sha256,
        examples=evidence.examples,
    )
