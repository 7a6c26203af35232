"""Whether the candidate keeps to the limits of the service: throughput, peak memory and cold start on every target."""

from reprune import formatting
from reprune.config.gate import GatePolicy
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE
from reprune.gate.verdict import Check
from reprune.inference.latency.benchmark import Benchmark


def limits(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check the limits that the policy names; none by default."""
    if evidence.benchmarks:
        return [check for run in evidence.benchmarks for check in _on(run, policy)]
    if policy.limits_service:
        said = "nothing was timed; hand in a benchmark, or set gate.service to off"
        return [Check(name="service", family="service", severity=policy.service, status="inconclusive", statement=said)]
    return []


def _on(run: Benchmark, policy: GatePolicy) -> list[Check]:
    found, dense, where = run.models[CANDIDATE], run.models[run.baseline], run.target.label()
    checks = []
    if (least := policy.throughput_at_least) is not None:
        said = f"{found.throughput:,.0f} examples a second, at least {least:,.0f} asked for"
        checks.append(_check(f"throughput on {where}", said, found.throughput, least, "examples/s", policy, floor=True))
    if policy.cold_start_limit is not None:
        limit = policy.cold_start_limit.resolve(dense.cold_start_seconds)
        said = f"{formatting.seconds(found.cold_start_seconds)}, allowed {formatting.seconds(limit)}"
        checks.append(_check(f"cold start on {where}", said, found.cold_start_seconds, limit, "seconds", policy))
    if policy.peak_memory_limit is not None:
        peaks = found.peak_memory_bytes, dense.peak_memory_bytes
        checks.append(_memory(f"peak memory on {where}", *peaks, policy))
    return checks


def _memory(name: str, found: int | None, dense: int | None, policy: GatePolicy) -> Check:
    asked = policy.peak_memory_limit
    assert asked is not None
    if found is None or (dense is None and asked.relative):
        said = f"{name}: the system does not tell; remove gate.peak_memory_limit"
        return Check(name=name, family="service", severity=policy.service, status="inconclusive", statement=said)
    limit = asked.resolve(dense or 0)
    said = f"{formatting.size(found)}, allowed {formatting.size(limit)}"
    return _check(name, said, float(found), limit, "bytes", policy)


def _check(
    name: str, said: str, found: float, limit: float, unit: str, policy: GatePolicy, *, floor: bool = False
) -> Check:
    margin = found - limit if floor else limit - found
    return Check(
        name=name,
        family="service",
        severity=policy.service,
        status="passed" if margin >= 0 else "failed",
        statement=f"{name} is {said}",
        estimate=found,
        threshold=limit,
        margin=margin,
        unit=unit,
    )
