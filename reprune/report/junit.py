"""A verdict as JUnit XML, which every CI system shows: each check is a test case."""

from xml.etree import ElementTree

from reprune.gate.verdict import Check, Verdict


def testsuite(verdict: Verdict, *, name: str) -> str:
    """Return the XML.

    A check that blocks is a failure; one that only warns passes, with its statement as output; one that was not made is
    skipped.

    Args:
        verdict: What the gate said.
        name: Name of the suite: the workload's.
    """
    blocked = sum(check.blocks for check in verdict.checks)
    skipped = sum(check.status == "skipped" for check in verdict.checks)
    counts = {"tests": str(len(verdict.checks)), "failures": str(blocked), "errors": "0", "skipped": str(skipped)}
    root = ElementTree.Element("testsuites", {"name": "reprune", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _valid(name), **counts})
    for check in verdict.checks:
        _testcase(suite, check, classname=f"gate.{check.family}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _testcase(suite: ElementTree.Element, check: Check, *, classname: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", {"classname": classname, "name": _valid(check.name), "time": "0"})
    statement = _valid(check.statement)
    if check.status == "skipped":
        ElementTree.SubElement(case, "skipped", {"message": statement})
    elif check.blocks:
        failure = ElementTree.SubElement(case, "failure", {"message": statement, "type": check.status})
        failure.text = statement
    else:
        output = ElementTree.SubElement(case, "system-out")
        output.text = f"warning: {statement}" if check.warns else statement


def _valid(text: str) -> str:
    """Return text without the control characters that XML 1.0 forbids."""
    return "".join(char for char in text if char in "\t\n" or ord(char) >= 32)
