"""Write the tables of the benchmark into its page, between markers."""

import re
from pathlib import Path
from typing import Any


def write(page: Path, marker: str, text: str) -> None:
    """Replace what stands between ``<!-- marker -->`` and ``<!-- /marker -->`` on a page."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    page.write_text(pattern.sub(lambda found: f"{found[1]}{text}{found[2]}", page.read_text()))


STEPS = ("pruned", "runs", "reloads", "exports", "learns", "right")
SIGNS = {True: "✓", False: "✗", None: "–"}


def write_coverage(results: dict[str, Any], page: Path) -> None:
    """Write the table of what works, its totals, and the comparison at equal widths."""
    heads = " | ".join(STEPS)
    rows = [f"| architecture | tool | {heads} | parameters left | why not |", "|---" * (len(STEPS) + 4) + "|"]
    for name, tools in results.items():
        for tool, result in tools.items():
            signs = " | ".join(SIGNS[result.get(step)] for step in STEPS)
            left = f"{result['left'] / result['parameters']:.0%}" if "left" in result else ""
            why = result.get("why", "").replace("|", "\\|")
            rows.append(f"| {name if tool == 'reprune' else ''} | {tool} | {signs} | {left} | {why[:160]} |")
    for tool in ("reprune", "Torch-Pruning"):
        counts = [sum(tools[tool].get(step) is True for tools in results.values()) for step in STEPS]
        whole = sum(all(tools[tool].get(step) is True for step in STEPS) for tools in results.values())
        rows.append(f"| **of {len(results)}** | {tool} | {' | '.join(map(str, counts))} | | **all of it: {whole}** |")
    write(page, "coverage", "\n".join(rows) + "\n")
    equal = {n: e for n, t in results.items() if (e := t["Torch-Pruning"].get("reprune at equal widths"))}
    rows = ["| architecture | parameters | the peer's | MACs | the peer's |", "|---|---:|---:|---:|---:|"]
    for name, each in equal.items():
        rows.append(
            f"| {name} | {each['parameters']:,} | {each['parameters of the peer']:,} "
            f"| {each['macs']:,} | {each['macs of the peer']:,} |"
        )
    alike = sum(
        e["parameters"] == e["parameters of the peer"] and e["macs"] == e["macs of the peer"] for e in equal.values()
    )
    rows.append(f"| **equal in {alike} of {len(equal)}** | | | | |")
    write(page, "equal-widths", "\n".join(rows) + "\n")
