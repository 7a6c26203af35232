"""Make the tables of ``docs/benchmarks/engine.md`` from the raw results."""

from collections.abc import Iterable
from typing import Any

from benchmarks.records import Record

STEPS = ("pruned", "runs", "reloads", "exports", "learns", "right")
SIGNS = {True: "✓", False: "✗", None: "–"}


def coverage_tables(records: Iterable[Record]) -> dict[str, str]:
    """Return the tables of checks and of the comparison at equal widths."""
    results: dict[str, dict[str, Record]] = {}
    for record in records:
        results.setdefault(record["architecture"], {})[record["tool"]] = record
    heads = " | ".join(STEPS)
    rows = [f"| architecture | tool | {heads} | parameters left | why not |", "|---" * (len(STEPS) + 4) + "|"]
    for name, tools in results.items():
        for tool, result in tools.items():
            signs = " | ".join(SIGNS[result.get(step)] for step in STEPS)
            left = f"{result['left'] / result['parameters']:.0%}" if "left" in result else ""
            why = "nothing was cut" if result.get("pruned") is False else result.get("why", "").replace("|", "\\|")
            rows.append(f"| {name if tool == 'reprune' else ''} | {tool} | {signs} | {left} | {why[:160]} |")
    for tool in ("reprune", "Torch-Pruning"):
        counts = [sum(tools[tool].get(step) is True for tools in results.values()) for step in STEPS]
        whole = sum(all(tools[tool].get(step) is True for step in STEPS) for tools in results.values())
        rows.append(f"| **of {len(results)}** | {tool} | {' | '.join(map(str, counts))} | | **all of it: {whole}** |")
    coverage = "\n".join(rows) + "\n"
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
    return {"coverage": coverage, "equal-widths": "\n".join(rows) + "\n"}


def speed_tables(records: Iterable[Record], depths: tuple[int, ...]) -> dict[str, str]:
    """Return the tables of seconds and memory, and of seconds by depth."""
    results: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        results.setdefault(record["model"], {}).setdefault(record["tool"], []).append(record)
    rows = [
        "| model | tool | analysis (s) | cut (s) | peak memory, analysis | with the cut |",
        "|---|---|---|---|---|---|",
    ]
    for name, tools in results.items():
        if name.startswith("bert_") and name != "bert_base":
            continue
        for tool, runs in tools.items():
            rows.append(f"| {name} | {tool} | {_measured(runs)} |")
    speed = "\n".join(rows) + "\n"
    rows = ["| layers | reprune (s) | per layer | Torch-Pruning (s) | per layer |", "|---:|---:|---:|---:|---:|"]
    for depth in depths:
        cells = []
        for tool in ("reprune", "Torch-Pruning"):
            runs = results.get(f"bert_{depth}", {}).get(tool, [])
            total = _median([run["analysis_seconds"] + run["cut_seconds"] for run in runs if "failed" not in run])
            cells += [f"{total:.2f}", f"{total / depth:.3f}"] if runs and total else ["–", "–"]
        rows.append(f"| {depth} | {' | '.join(cells)} |")
    return {"speed": speed, "depth": "\n".join(rows) + "\n"}


def _measured(runs: list[dict[str, Any]]) -> str:
    if "failed" in runs[0]:
        return f"{runs[0]['failed']} | | |"
    cells = []
    for key in ("analysis_seconds", "cut_seconds"):
        values = sorted(run[key] for run in runs)
        cells.append(f"{_median(values):.2f} ({values[0]:.2f} – {values[-1]:.2f})")
    for key in ("analysis_peak_bytes", "peak_bytes"):
        values = sorted(run[key] / run["model_bytes"] for run in runs)
        cells.append(f"{_median(values):.2f} × ({values[0]:.2f} – {values[-1]:.2f})")
    return " | ".join(cells)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
