"""Write the raw results into the tables of ``docs/benchmarks/planning.md``."""

import contextlib
import io
import json
from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.pages import write_tables
from benchmarks.planning.case import HERE
from benchmarks.planning.efficiency import OURS
from benchmarks.planning.models import MODELS
from benchmarks.planning.peer import VARIANTS
from benchmarks.planning.prediction import together
from benchmarks.records import Records


def main() -> None:
    """Write every table into the page."""
    write_tables("planning.md", tables())


def tables() -> dict[str, str]:
    """Return every table of the page, by name."""
    found = {}
    for table in (first_candidate, planning_time, prediction, efficiency, resnet50, accuracy):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            table()
        found[table.__name__.replace("_", "-")] = f"\n{printed.getvalue().strip()}\n\n"
    return found


def first_candidate() -> None:
    """Print the latency of each plan relative to dense."""
    rows = list(Records(HERE / "first_candidate.jsonl"))
    budgets = sorted({row["budget"] for row in rows})
    found = {(row["model"], row["budget"]): row["ratio"] for row in rows}
    lines = []
    for name in MODELS:
        ratios = [found.get((name, budget)) for budget in budgets]
        if any(ratios):
            lines.append([name, *("" if it is None else _marked(it, b) for it, b in zip(ratios, budgets, strict=True))])
    _print(["model", *(f"{budget}x" for budget in budgets)], lines)


def _marked(ratio: float, budget: float) -> str:
    shown = f"{ratio:.3f}"
    if ratio > budget:
        return f"**{shown}**"
    return f"*{shown}*" if ratio < 0.85 * budget else shown


def planning_time() -> None:
    """Print the time that planning takes."""
    rows = [row for row in Records(HERE / "first_candidate_plans.jsonl") if "rounds" in row]
    lines = []
    for name in MODELS:
        mine = [row for row in rows if row["model"] == name]
        if mine:
            seconds = [row["planning_cpu_seconds"] for row in mine]
            graphs = [len(row["rounds"]) for row in mine]
            lines.append([name, f"{np.median(seconds):.0f} s", f"{max(seconds):.0f} s", f"{np.mean(graphs):.1f}"])
    _print(["model", "one plan, median", "longest", "graphs measured, mean"], lines)


def prediction() -> None:
    """Print the error of whole-graph predictions."""
    records = list(Records(HERE / "prediction.jsonl"))
    if not records:
        return
    kinds = [(record["model"], kind, record[kind]) for record in records for kind in ("dense only", "learned")]
    kinds += [("**all**", kind, errors) for kind, errors in together(records).items()]
    lines = []
    for name, kind, errors in kinds:
        values = np.abs(errors)
        lines.append([name, kind, len(values), f"{np.median(values):.1%}", f"{np.quantile(values, 0.9):.1%}"])
    _print(["model", "learned from", "graphs", "median error", "90th percentile"], lines)


def efficiency() -> None:
    """Print speed-up over MAC reduction for every model and plan."""
    rows = list(Records(HERE / "efficiency.jsonl"))
    graphs = list(Records(HERE / "efficiency_graphs.jsonl"))
    for speedup in sorted({row["speedup"] for row in graphs}):
        lines = []
        for name in MODELS:
            cells = []
            for plan in (OURS, *VARIANTS):
                key = {"model": name, "speedup": speedup, "plan": plan}
                timed = _pick(rows, key)
                graph = _pick(graphs, key)
                if timed:
                    cells.append(
                        f"{timed['measured']:.2f}x / {timed['macs_reduction']:.2f} = {timed['efficiency']:.2f}"
                    )
                else:
                    cells.append("fails" if graph and "failed" in graph else "")
            if any(cells):
                lines.append([name, *cells])
        medians = []
        for plan in (OURS, *VARIANTS):
            values = [row["efficiency"] for row in rows if row["speedup"] == speedup and row["plan"] == plan]
            medians.append(f"**{np.median(values):.2f}**" if values else "")
        print(f"Plans at {speedup}x:\n")
        _print(["model", OURS, *VARIANTS], [*lines, ["**median**", *medians]])
        print()


def resnet50() -> None:
    """Print sizes and latencies of ResNet-50."""
    path = HERE / "resnet50.json"
    if not path.is_file():
        return
    found = json.loads(path.read_text())
    lines = [
        [
            name,
            f"{row['size_bytes'] / 1e6:.1f} MB",
            f"{row['size_ratio']:.3f}",
            f"{row['latency_ratio']:.3f} ({min(row['sessions']):.3f} to {max(row['sessions']):.3f})",
        ]
        for name, row in found["models"].items()
    ]
    _print(["ResNet-50", "bytes", "of dense", "latency, of dense (sessions)"], lines)


def accuracy() -> None:
    """Print scores after fine-tuning by speed-up and plan, the best of a row in bold."""
    plans = list(Records(HERE / "accuracy_plans.jsonl"))
    rows = list(Records(HERE / "accuracy.jsonl"))
    kinds = ("measured", "uniform", "global magnitude", "MACs")
    lines = []
    for workload, speedup in dict.fromkeys((row["workload"], row["speedup"]) for row in plans):
        of = {"workload": workload, "speedup": speedup}
        scores = {
            kind: [100 * row["score"] for row in rows if (of | {"plan": kind}).items() <= row.items()] for kind in kinds
        }
        if not any(scores.values()):
            continue
        best = max(np.mean(it) for it in scores.values() if it)
        cells = [_accuracy_cell(scores[kind], _pick(plans, of | {"plan": kind}), best) for kind in kinds]
        dense = next(row["dense_score"] for row in plans if row["workload"] == workload)
        lines.append([workload, f"{100 * dense:.1f}", f"{speedup}x", *cells, max(map(len, scores.values()))])
    _print(["workload", "dense", "asked", *kinds, "seeds"], lines)


def _accuracy_cell(scores: list[float], plan: dict | None, best: float) -> str:
    if not scores or plan is None:
        return "no plan" if plan and "infeasible" in plan else ""
    shown = f"{np.mean(scores):.1f} ± {np.std(scores, ddof=1) if len(scores) > 1 else 0:.1f}"
    return f"{f'**{shown}**' if np.mean(scores) == best else shown} ({1 / plan['latency_ratio']:.1f}x)"


def _pick(rows: Iterable[dict], key: dict) -> dict | None:
    return next((row for row in rows if key.items() <= row.items()), None)


def _print(header: Sequence[object], lines: Iterable[Sequence[object]]) -> None:
    for line in (header, ["---"] * len(header), *lines):
        print("| " + " | ".join(map(str, line)) + " |")


if __name__ == "__main__":
    main()
