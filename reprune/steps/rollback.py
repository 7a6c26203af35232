"""Make an earlier champion the champion again."""

from reprune.steps.context import Step


def run(step: Step, *, reason: str, to: str) -> str:
    """Move the pointer back and return the version it points to now."""
    champion = step.registry.rollback(to=to or None, reason=reason)
    step.summary = f"champion is {champion.short} again: {reason}"
    return champion.version
