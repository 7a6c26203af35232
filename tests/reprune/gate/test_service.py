"""Limits of the service: off unless given, judged by the benchmark's figures."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from reprune.config.gate import CHECKS, GatePolicy
from reprune.gate.evaluate import judge
from reprune.gate.evidence import Evidence
from tests.reprune.gate.conftest import BUDGET, TARGET


def test_no_limit_no_check(equal: Evidence) -> None:
    assert not [it for it in judge(equal, GatePolicy(), BUDGET).checks if it.family == "service"]


@pytest.mark.parametrize(
    ("key", "kept", "broken", "name"),
    [
        ("throughput_at_least", 2400, 2600, "throughput"),
        ("cold_start_limit", "0.2s", "50ms", "cold start"),
        ("cold_start_limit", "1x", "0.5x", "cold start"),
    ],
)
def test_limits_are_kept_or_broken(equal: Evidence, key: str, kept, broken, name: str) -> None:
    good, bad = (judge(equal, GatePolicy(**{key: limit}), BUDGET) for limit in (kept, broken))
    assert good.passed and good.named(f"{name} on {TARGET}").status == "passed"
    check = bad.named(f"{name} on {TARGET}")
    assert not bad.passed and check.blocks and check.margin < 0


def test_memory_that_the_system_does_not_tell_is_a_doubt(equal: Evidence) -> None:
    policy = GatePolicy(peak_memory_limit="100MB")
    assert judge(equal, policy, BUDGET).named(f"peak memory on {TARGET}").status == "inconclusive"
    run = equal.benchmarks[0]
    models = run.models | {"pruned": run.models["pruned"].model_copy(update={"peak_memory_bytes": 90_000_000})}
    told = replace(equal, benchmarks=[run.model_copy(update={"models": models})])
    assert judge(told, policy, BUDGET).named(f"peak memory on {TARGET}").status == "passed"


def test_limits_without_a_benchmark_block(equal: Evidence) -> None:
    verdict = judge(replace(equal, benchmarks=()), GatePolicy(cold_start_limit="1s"), BUDGET)
    assert verdict.named("service").blocks


def test_limits_that_are_not_given_do_not_count_as_blocking() -> None:
    rest = dict.fromkeys(CHECKS, "warn") | {"service": "block"}
    with pytest.raises(ValidationError, match="blocks on nothing"):
        GatePolicy(**rest)
    assert GatePolicy(**rest, throughput_at_least=10).service == "block"
