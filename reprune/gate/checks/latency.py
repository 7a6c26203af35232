"""Whether the candidate is fast enough on every target, from interleaved timings against dense and a control."""

from reprune import formatting
from reprune.config.gate import GatePolicy, Severity
from reprune.config.limits import LatencyLimit
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE
from reprune.gate.verdict import Check, Status
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.latency.bootstrap import Estimate, quotient


def median(evidence: Evidence, policy: GatePolicy, limit: LatencyLimit) -> list[Check]:
    """Check the median latency against the budget, and that the gain exceeds what two identical models show."""
    if not evidence.benchmarks:
        return [_unmeasured("latency", policy)]
    return [check for run in evidence.benchmarks for check in (_median(run, policy, limit), _gain(run, policy))]


def tail(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check the 95th percentile."""
    return [_percentile(run, policy, "tail_latency", 95) for run in evidence.benchmarks] or [
        _unmeasured("tail_latency", policy)
    ]


def extreme(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check the 99th percentile: an excess that is shown counts as a failure, a doubt as a warning."""
    return [_percentile(run, policy, "extreme_latency", 99) for run in evidence.benchmarks] or [
        _unmeasured("extreme_latency", policy)
    ]


def _median(run: Benchmark, policy: GatePolicy, limit: LatencyLimit) -> Check:
    timing = run.models[CANDIDATE]
    measured = timing.latency_ratio if limit.relative else timing.p50_seconds
    return _check(f"p50 latency on {run.target.label()}", "latency", policy, measured, limit)


def _gain(run: Benchmark, policy: GatePolicy) -> Check:
    gain, control = run.speedup(CANDIDATE), run.noise.inverse()
    faster = run.faster(CANDIDATE)
    spread = f"{formatting.times(control.low)} to {formatting.times(control.high)}"
    said = f"{CANDIDATE} is {_range(gain, formatting.times)} as fast as dense on {run.target.label()}, "
    said += f"{'outside' if faster else 'inside'} the spread of two identical models ({spread})"
    return Check.measured(
        gain,
        control.high,
        rule="low above",
        name=f"gain on {run.target.label()}",
        family="latency",
        severity=policy.latency,
        status="passed" if faster else "failed",
        statement=said,
        unit="ratio",
        examples=run.rounds,
    )


def _percentile(run: Benchmark, policy: GatePolicy, family: str, percentile: int) -> Check:
    limit: LatencyLimit = getattr(policy, f"{family}_limit")
    measured: Estimate = getattr(run.models[CANDIDATE], f"p{percentile}_seconds")
    if limit.relative:
        measured = quotient(measured, getattr(run.models[run.baseline], f"p{percentile}_seconds"))
    return _check(f"p{percentile} latency on {run.target.label()}", family, policy, measured, limit)


def _check(name: str, family: str, policy: GatePolicy, measured: Estimate, limit: LatencyLimit) -> Check:
    write = formatting.times if limit.relative else formatting.seconds
    # so few samples lie beyond the 99th percentile that an excess there must be shown to count as one
    over = measured.low if family == "extreme_latency" else measured.value
    status: Status = "passed" if measured.high <= limit.value else "failed" if over > limit.value else "inconclusive"
    said = f"{name} is {_range(measured, write)}{' of dense' if limit.relative else ''}, allowed {write(limit.value)}"
    if status == "inconclusive":
        said += ": too noisy to tell; measure longer, on a quieter machine, or prune a little further"
    return Check.measured(
        measured,
        limit.value,
        name=name,
        family=family,
        severity=_severity(family, status, policy),
        status=status,
        statement=said,
        unit="ratio" if limit.relative else "seconds",
    )


def _severity(family: str, status: Status, policy: GatePolicy) -> Severity:
    """Return what a check does; a doubt about the 99th percentile, which few samples settle, warns at most."""
    severity = policy.severity(family)
    return "warn" if (family, status, severity) == ("extreme_latency", "inconclusive", "block") else severity


def _range(measured: Estimate, write: formatting.Form) -> str:
    return f"{write(measured.value)} ({write(measured.low)} to {write(measured.high)})"


def _unmeasured(family: str, policy: GatePolicy) -> Check:
    return Check(
        name=family.replace("_", " "),
        family=family,
        severity=_severity(family, "inconclusive", policy),
        status="inconclusive",
        statement=f"nothing was timed; hand in a benchmark, or set gate.{family} to off",
    )
