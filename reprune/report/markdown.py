"""A verdict as Markdown, for a pull request or a job's summary."""

from reprune.gate.verdict import Verdict
from reprune.report.report import outcome


def summary(verdict: Verdict, *, title: str) -> str:
    """Return the decision, its reasons, and all checks as a table.

    Args:
        verdict: What the gate said.
        title: Heading: the workload's name.
    """
    word = "promote" if verdict.passed else "reject"
    lines = [f"## {_plain(title)}: {word}", "", _plain(verdict.summary), ""]
    lines += [f"- {_plain(reason)}" for reason in verdict.reasons()]
    lines += ["", "| check | outcome | what was found |", "| --- | --- | --- |"]
    lines += [f"| {_plain(it.name)} | {outcome(it)} | {_plain(it.statement)} |" for it in verdict.checks]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return text that Markdown leaves as it is, on one line."""
    escaped = "".join(f"\\{char}" if char in "\\`*_{}[]<>#|!" else char for char in text)
    return " ".join(escaped.split())
