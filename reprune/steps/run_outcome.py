"""How a run ended, read from what its steps left behind."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["promoted", "waiting", "nothing-to-do", "rejected", "failed"]

EXIT_CODES: dict[Kind, int] = {"promoted": 0, "waiting": 0, "nothing-to-do": 0, "rejected": 1, "failed": 3}


class Outcome(BaseModel):
    """How a run ended."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    reason: str
    """In a sentence."""


def read(records: dict[str, dict[str, Any]]) -> Outcome:
    """Return how a run ended.

    Args:
        records: What the steps of the run recorded, by step.
    """
    decision = records.get("detect_drift", {})
    if decision.get("action") == "skip":
        return Outcome(kind="nothing-to-do", reason=decision["summary"])
    if "promote" in records:
        kind: Kind = "waiting" if records["promote"].get("waits") else "promoted"
        return Outcome(kind=kind, reason=records["promote"]["summary"])
    if "reject" in records:
        return Outcome(kind="rejected", reason=records["reject"]["summary"])
    return Outcome(kind="failed", reason="a step failed before the gate had decided")
