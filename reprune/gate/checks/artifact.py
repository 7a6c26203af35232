"""Whether the file that would be served is small enough, answers as torch does, and opens in a fresh process."""

from functools import partial
from typing import NamedTuple

from reprune import formatting
from reprune.config.gate import GatePolicy
from reprune.config.limits import SizeLimit
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE, DENSE
from reprune.gate.verdict import Check, Status
from reprune.inference.onnx.parity import Parity


class Limits(NamedTuple):
    """What one hop may change: the largest difference, relative to the outputs, and the smallest agreement."""

    error: float
    agreement: float


def size(evidence: Evidence, policy: GatePolicy, limit: SizeLimit | None) -> list[Check]:
    """Check the size of the ONNX file against the budget."""
    dense, found = evidence.size_bytes[DENSE], evidence.size_bytes[CANDIDATE]
    check = partial(Check, name="size", family="size", severity=policy.size, estimate=float(found), unit="bytes")
    said = f"the ONNX file has {formatting.size(found)}, {formatting.percent(found / dense)} of dense"
    if limit is None:
        return [check(status="skipped", statement=f"{said}; the budget names no size")]
    allowed = limit.resolve(dense)
    return [
        check(
            status="passed" if found <= allowed else "failed",
            statement=f"{said}; allowed {formatting.size(allowed)} ({limit.text})",
            threshold=allowed,
            margin=allowed - found,
        )
    ]


def parity(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check the difference at each hop from torch to what is served; quantizing may change more than exporting."""
    check = partial(Check, name="parity", family="parity", severity=policy.parity)
    if evidence.parity is None:
        return [check(status="skipped", statement="the files came without a torch model to compare them with")]
    said = "the file was not compared with torch; hand in the export's parity, or set gate.parity to off"
    if not evidence.parity:
        return [check(status="inconclusive", statement=said)]
    exact = Limits(policy.parity_error, policy.parity_agreement)
    rounded = Limits(policy.quantization_error, policy.quantization_agreement)
    hops = evidence.quantized.hop if evidence.quantized else {}
    return [
        *(_hop(name, found, policy, exact) for name, found in evidence.parity.items()),
        *(_hop(name, found, policy, rounded) for name, found in hops.items()),
    ]


def serving(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check that a fresh process opened the file and repeated the recorded answers."""
    found = evidence.probe
    check = partial(Check, name="serving", family="serving", severity=policy.serving)
    if found is None:
        return [
            check(
                status="inconclusive",
                statement="no fresh process was asked; set gate.serving to off to allow that",
            )
        ]
    where = f"a fresh process with {formatting.count(found.threads, 'thread')}"
    if found.answers:
        said = f"{where} opened the file and repeated {formatting.count(found.examples, 'recorded answer')}"
    elif found.problem:
        said = f"{where} could not serve the file: {found.problem}"
    else:
        said = f"{where} opened the file but answered otherwise than recorded, by up to {found.max_abs_error:.2g}"
    status: Status = "passed" if found.answers else "failed"
    return [check(status=status, statement=said, estimate=found.max_abs_error, examples=found.examples)]


def _hop(name: str, found: Parity, policy: GatePolicy, limits: Limits) -> Check:
    allowed = limits.error * max(found.output_scale, 1.0)
    agreement = found.argmax_agreement
    # written so that NaN fails
    alike = found.max_abs_error <= allowed and (agreement is None or agreement >= limits.agreement)
    said = f"{name}: outputs differ by at most {found.max_abs_error:.2g} (allowed {allowed:.2g})"
    if agreement is not None:
        said += f", {100 * agreement:.4g} % of predictions agree"
    return Check(
        name=f"parity: {name}",
        family="parity",
        severity=policy.parity,
        status="passed" if alike else "failed",
        statement=f"{said} on {formatting.count(found.examples, 'example')}",
        estimate=found.max_abs_error,
        threshold=allowed,
        margin=allowed - found.max_abs_error,
        examples=found.examples,
    )
