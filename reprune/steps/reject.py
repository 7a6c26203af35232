"""Record why a candidate was not promoted."""

from pathlib import Path

from reprune.gate.verdict import Verdict
from reprune.steps.context import Step
from reprune.storage import checkpoints


def run(step: Step, *, verdict: Path) -> None:
    """Leave the champion as it is, and the reasons in the step's record."""
    judged = Verdict.model_validate_json(verdict.read_text())
    checkpoints.clear(step.store, step.workload.name)
    champion = step.registry.champion()
    step.record = {"reasons": judged.reasons(), "champion": champion.version if champion else None}
    count = len(judged.reasons())
    stays = f"champion {champion.short} stays" if champion else "there is no champion yet"
    step.summary = f"{count} check{'' if count == 1 else 's'} refused it; {stays}"
