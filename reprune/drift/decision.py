"""Whether the loop has anything to do: the first decision of every run, and the monitor's."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from reprune.config.drift import DriftPolicy
from reprune.data.signals import Signals
from reprune.drift.detect import detect
from reprune.drift.drift_report import DriftReport
from reprune.drift.features import Examples
from reprune.drift.reference import Reference

Trigger = Literal["schedule", "alert", "force"]
Cause = Literal["no-champion", "forced", "alert", "drift", "no-drift", "no-data", "inconclusive"]


class Decision(BaseModel):
    """What to do, and why."""

    model_config = ConfigDict(frozen=True)

    action: Literal["skip", "reprune"]
    cause: Cause
    reason: str
    """In words."""
    report: DriftReport | None = None
    """What the drift tests found, where they ran."""


def decide(
    champion: str | None,
    version: Path | None,
    window: Examples | None,
    signals: Signals,
    policy: DriftPolicy | None = None,
    *,
    trigger: Trigger = "schedule",
    seed: int = 0,
) -> Decision:
    """Decide whether to prune again.

    Args:
        champion: Version of the champion, or None where there is none yet.
        version: Folder of the champion, with ``model.onnx`` and ``reference.safetensors``; needed when there is one.
        window: Latest production data, or None where there is none.
        signals: The task's: what of predictions is watched.
        policy: When a difference counts as drift.
        trigger: What asks: the schedule (drift decides), an alert or a person (drift is not asked).
        seed: Seed of everything random.

    Raises:
        IntegrityError: The champion's reference is missing, damaged, or of another model.
        InputError: The window cannot be inputs of the champion.
    """
    if champion is None or version is None:
        return Decision(action="reprune", cause="no-champion", reason="no champion yet")
    if trigger == "force":
        return Decision(action="reprune", cause="forced", reason="forced")
    if trigger == "alert":
        return Decision(action="reprune", cause="alert", reason="an alert asks for it")
    reference = Reference.load(version / "reference.safetensors")
    if window is None:
        reason = f"champion {champion[:12]}; there is no production data"
        return Decision(action="skip", cause="no-data", reason=reason)
    report = detect(reference, window, version / "model.onnx", signals, policy, seed=seed)
    if report.drifted:
        return Decision(action="reprune", cause="drift", reason=report.summary, report=report)
    cause: Cause = "inconclusive" if report.verdict == "inconclusive" else "no-drift"
    return Decision(action="skip", cause=cause, reason=f"champion {champion[:12]}; {report.summary}", report=report)
