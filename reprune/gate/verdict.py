"""What the gate says: every check in words and numbers, and whether the candidate may be promoted."""

from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict

from reprune.config.gate import Severity

Status = Literal["passed", "failed", "inconclusive", "skipped"]
Rule = Literal["high below", "low below", "low above"]
"""Which bound decides on which side of the threshold: the harm is shown to be small, is not shown to be large, or the
good is shown to be enough."""


class Bounded(Protocol):
    """A number with its bounds: an interval, an estimate or a comparison."""

    @property
    def value(self) -> float:
        """The estimate."""

    @property
    def low(self) -> float:
        """Its lower bound."""

    @property
    def high(self) -> float:
        """Its upper bound."""


class Check(BaseModel):
    """One question that was put to the candidate, and its answer.

    Attributes:
        name: Name of the check, unique in a verdict: ``quality against dense``, ``slice: class 8``.
        family: Key of the policy that it belongs to: ``quality``, ``slices`` ...
        severity: What it does when it does not pass.
        status: ``inconclusive`` where the evidence allows neither answer; it blocks as a failure does.
        statement: The answer as a sentence for people.
        estimate: What was measured, in ``unit``.
        low: Lower bound of the estimate; for a drop, one-sided at the policy's confidence.
        high: Upper bound of the estimate, likewise.
        threshold: What the bound that decides must clear.
        margin: Distance of that bound from the threshold: by how much the check passed, or (negative) failed to.
        unit: ``share``, ``ratio``, ``seconds``, ``bytes``, or the loss's own.
        examples: Examples it was measured on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    name: str
    family: str
    severity: Severity
    status: Status
    statement: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    margin: float | None = None
    unit: str = ""
    examples: int | None = None

    @classmethod
    def measured(cls, found: Bounded, threshold: float, *, rule: Rule = "high below", **fields: Any) -> Self:
        """Return a check whose numbers are those of an estimate with its bounds.

        Args:
            found: What was measured.
            threshold: What the bound that decides must clear.
            rule: Which bound that is, and on which side of the threshold it must lie.
            fields: The other attributes.
        """
        margins = {
            "high below": threshold - found.high,
            "low below": threshold - found.low,
            "low above": found.low - threshold,
        }
        numbers = {"estimate": found.value, "low": found.low, "high": found.high, "threshold": threshold}
        return cls(**numbers, margin=margins[rule], **fields)

    @property
    def blocks(self) -> bool:
        """Whether this check alone stops a promotion."""
        return self.severity == "block" and self.status in ("failed", "inconclusive")

    @property
    def warns(self) -> bool:
        """Whether this check did not pass but lets the candidate through."""
        return self.severity == "warn" and self.status in ("failed", "inconclusive")

    @property
    def outcome(self) -> str:
        """The status, where what does not pass but lets the candidate through is a ``warning``."""
        return "warning" if self.warns else self.status


class Verdict(BaseModel):
    """The gate's decision about one candidate.

    Attributes:
        passed: Whether the candidate may be promoted.
        summary: The decision in one sentence.
        checks: All checks that were made, in order.
        candidate_sha256: Digest of the ONNX file that was judged; another file has no verdict.
        bundle_sha256: Digest of the ``bundle.json`` that the file was exported from, which holds those of weights,
            recipe and masks; None where it came from no bundle.
        examples: Examples of the test split that quality was judged on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    passed: bool
    summary: str
    checks: tuple[Check, ...]
    candidate_sha256: str
    bundle_sha256: str | None = None
    examples: int

    def reasons(self) -> list[str]:
        """Return why the candidate was refused; where it was not, what it was let through in spite of."""
        return [check.statement for check in self.checks if (check.warns if self.passed else check.blocks)]

    def named(self, name: str) -> Check:
        """Return the check of a name."""
        return next(check for check in self.checks if check.name == name)


def conclude(checks: list[Check], *, candidate_sha256: str, bundle_sha256: str | None = None, examples: int) -> Verdict:
    """Return the verdict that follows from the checks."""
    assert len({check.name for check in checks}) == len(checks), "a check's name stands for one check"
    blocking = [check for check in checks if check.blocks]
    warnings = [check for check in checks if check.warns]
    passed = sum(check.status == "passed" for check in checks)
    told = [_count(passed, "check") + " passed"]
    if warnings:
        told.append(_count(len(warnings), "warning") + f": {warnings[0].statement}")
    if blocking:
        told.insert(0, _count(len(blocking), "check") + f" refused the candidate: {blocking[0].statement}")
    return Verdict(
        passed=not blocking,
        summary="; ".join(told),
        checks=tuple(checks),
        candidate_sha256=candidate_sha256,
        bundle_sha256=bundle_sha256,
        examples=examples,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
