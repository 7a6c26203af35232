"""The verdict: equal models pass, and what fails or was not measured is told by its name."""

from dataclasses import replace

import numpy as np
import pytest

from reprune.config.gate import CHECKS, GatePolicy
from reprune.config.sections import Budget
from reprune.errors import InputError
from reprune.gate.evaluate import judge
from reprune.gate.evidence import Evidence
from reprune.gate.verdict import Verdict
from tests.reprune.gate.conftest import BUDGET, TARGET, failing, simulated


def test_an_equal_and_faster_model_passes_every_check(equal: Evidence) -> None:
    verdict = judge(equal, GatePolicy(), BUDGET)
    assert verdict.passed and verdict.reasons() == [] and not failing(verdict)
    assert verdict.candidate_sha256 == equal.sha256["pruned"]
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    assert verdict.named("quality against champion").status == "skipped"


def test_a_drop_within_the_tolerance_but_not_shown_to_be_is_inconclusive_and_says_what_is_needed(
    equal: Evidence,
) -> None:
    labels = np.arange(500) % 10
    dense, candidate = np.ones(500), np.ones(500)
    dense[:8], candidate[8:20] = 0, 0
    check = judge(simulated(dense, candidate, equal, labels), GatePolicy(), BUDGET).named("quality against dense")
    assert check.status == "inconclusive" and check.blocks
    assert (
        "lost 0.8 points" in check.statement
        and "allowed 2.0" in check.statement
        and "would be needed" in check.statement
    )
    assert check.margin == pytest.approx(check.threshold - check.high)


def test_a_large_drop_fails(equal: Evidence) -> None:
    candidate = np.ones(500)
    candidate[:30] = 0
    verdict = judge(simulated(np.ones(500), candidate, equal, np.arange(500) % 10), GatePolicy(), BUDGET)
    assert verdict.named("quality against dense").status == "failed" and not verdict.passed
    assert verdict.summary.startswith("1 check refused the candidate: pruned lost 6.0 points against dense")


def test_a_nan_in_the_outputs_fails(equal: Evidence) -> None:
    broken = replace(equal.answers["pruned"], not_finite=2)
    verdict = judge(replace(equal, answers=equal.answers | {"pruned": broken}), GatePolicy(), BUDGET)
    assert failing(verdict) == {"finite outputs"}


@pytest.mark.parametrize(
    ("ratio", "status"), [(0.45, "passed"), (0.495, "inconclusive"), (0.6, "failed")], ids=["within", "noisy", "over"]
)
def test_latency_is_judged_by_its_interval(equal: Evidence, timed, ratio: float, status: str) -> None:
    verdict = judge(replace(equal, benchmarks=[timed(p50=ratio)]), GatePolicy(), BUDGET)
    assert verdict.named(f"p50 latency on {TARGET}").status == status
    assert verdict.passed == (status == "passed")


def test_a_gain_inside_the_noise_is_no_gain(equal: Evidence, timed) -> None:
    budget = Budget(latency="1x", accuracy_drop=0.02)
    verdict = judge(replace(equal, benchmarks=[timed(p50=0.95, noise=0.08)]), GatePolicy(), budget)
    assert verdict.named(f"p50 latency on {TARGET}").status == "passed"
    assert failing(verdict) == {f"gain on {TARGET}"}


def test_an_absolute_latency_limit_is_judged_in_seconds(equal: Evidence) -> None:
    budget = Budget(latency="0.3ms", accuracy_drop=0.02)
    check = judge(equal, GatePolicy(), budget).named(f"p50 latency on {TARGET}")
    assert (check.unit, check.status) == ("seconds", "failed") and "allowed 300 µs" in check.statement


def test_size_has_a_budget_or_is_skipped(equal: Evidence) -> None:
    assert judge(equal, GatePolicy(), BUDGET).named("size").status == "skipped"
    verdict = judge(equal, GatePolicy(), Budget(latency="0.5x", accuracy_drop=0.02, size="0.5x"))
    assert verdict.named("size").status == "failed" and "100.0 % of dense" in verdict.named("size").statement


def test_what_was_not_measured_blocks(equal: Evidence) -> None:
    verdict = judge(replace(equal, benchmarks=(), parity={}, probe=None), GatePolicy(), BUDGET)
    assert {check.name for check in verdict.checks if check.blocks} == {"latency", "tail latency", "parity", "serving"}


def test_a_small_slice_is_not_judged(equal: Evidence) -> None:
    labels = np.r_[np.zeros(490, int), np.ones(10, int)]
    candidate = np.r_[np.ones(490), np.zeros(10)]
    verdict = judge(simulated(np.ones(500), candidate, equal, labels), GatePolicy(), BUDGET)
    assert verdict.named("slice: class 1").status == "skipped"


def test_a_champion_that_was_better_keeps_its_place(equal: Evidence) -> None:
    scores = equal.answers["dense"].scores
    worse = scores.copy()
    worse[np.flatnonzero(scores)[:60]] = 0
    answers = {name: replace(equal.answers["dense"], scores=worse) for name in ("dense", "pruned")}
    verdict = judge(replace(equal, answers=answers | {"champion": equal.answers["dense"]}), GatePolicy(), BUDGET)
    assert failing(verdict) == {"quality against champion"}


def test_a_gate_whose_blocking_checks_are_all_skipped_is_refused(equal: Evidence) -> None:
    policy = GatePolicy(**dict.fromkeys(CHECKS, "warn") | {"champion": "block"})
    with pytest.raises(InputError, match="every check that blocks was skipped"):
        judge(equal, policy, BUDGET)
