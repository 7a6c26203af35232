"""Measure speed-up per MAC reduction at 2x and 4x, beside Torch-Pruning.

    python -m benchmarks.planning.efficiency prepare [model ...]      # resumes
    python -m benchmarks.planning.efficiency time [model ...]         # resumes

Torch-Pruning prunes to about the same MACs as the plan.
"""

import json
import sys

import numpy as np

from benchmarks.planning.case import HERE, WORK, Case, ratios, slug
from benchmarks.planning.first_candidate import PLANS
from benchmarks.planning.models import MODELS, build
from benchmarks.planning.peer import VARIANTS, macs, prune
from benchmarks.records import Records
from reprune.config.sections import Budget
from reprune.inference.onnx.export import export
from reprune.planning.plan import make_plan

SPEEDUPS = (2, 4)
GRAPHS, TIMES = HERE / "efficiency_graphs.jsonl", HERE / "efficiency.jsonl"
OURS = "reprune"


def prepare(names: list[str]) -> None:
    """Export the graph of every plan, and count its MACs."""
    done = Records(GRAPHS, ("model", "speedup", "plan"))
    for name in names:
        if all(done.has(name, speedup, plan) for speedup in SPEEDUPS for plan in (OURS, *VARIANTS)):
            continue
        case, folder = Case(name), WORK / f"{slug(name)}-efficiency"
        folder.mkdir(parents=True, exist_ok=True)
        export(case.model, case.inputs, folder / "dense.onnx")
        dense = macs(case.model, case.inputs)
        for speedup in SPEEDUPS:
            if not done.has(name, speedup, OURS):
                widths = _planned(name, 1 / speedup)
                if widths is None:
                    budget = Budget(latency=f"{1 / speedup}x")
                    plan = make_plan(case.analysis, [case.table], case.sensitivity, budget, measure=case.measure)
                    widths = plan.widths
                pruned = case.cut(widths)
                export(pruned, case.inputs, folder / f"{OURS}-{speedup}.onnx")
                reduction = dense / macs(pruned, case.inputs)
                done.add(model=name, speedup=speedup, plan=OURS, macs_reduction=reduction, widths=widths)
        wanted = {row["speedup"]: row["macs_reduction"] for row in done if row["model"] == name and row["plan"] == OURS}
        for variant in VARIANTS:
            if all(done.has(name, speedup, variant) for speedup in SPEEDUPS):
                continue
            try:
                found = prune(case.model, case.inputs, variant, wanted)
                for speedup, (model, reduction) in found.items():
                    export(model, case.inputs, folder / f"{variant}-{speedup}.onnx")
                    done.add(model=name, speedup=speedup, plan=variant, macs_reduction=reduction)
            except Exception as error:  # a peer's exception is a result
                for speedup in SPEEDUPS:
                    done.add(model=name, speedup=speedup, plan=variant, failed=f"{type(error).__name__}: {error}"[:200])
            print(json.dumps(done.select(model=name, plan=variant)[-1])[:200], flush=True)


def _planned(name: str, budget: float) -> dict[str, int] | None:
    """Return the widths that ``first_candidate.py`` planned for this budget, if any."""
    return next((row["widths"] for row in Records(PLANS).select(model=name, budget=budget) if "widths" in row), None)


def clock(names: list[str]) -> None:
    """Time all graphs of a model in one benchmark."""
    done = Records(TIMES, ("model", "speedup", "plan"))
    for name in names:
        rows = [row for row in Records(GRAPHS).select(model=name) if "failed" not in row]
        if not rows or all(done.has(name, row["speedup"], row["plan"]) for row in rows):
            continue
        _, inputs, target = build(name)
        folder = WORK / f"{slug(name)}-efficiency"
        files = {"dense": folder / "dense.onnx"}
        files |= {f"{row['plan']}-{row['speedup']}": folder / f"{row['plan']}-{row['speedup']}.onnx" for row in rows}
        found = ratios(files, inputs, target)
        for row in rows:
            timed = found[f"{row['plan']}-{row['speedup']}"]
            measured = 1 / float(np.median(timed))
            row = done.add(
                model=name,
                speedup=row["speedup"],
                plan=row["plan"],
                macs_reduction=row["macs_reduction"],
                measured=measured,
                sessions=timed,
                efficiency=measured / row["macs_reduction"],
                control=found["control"],
            )
            print(json.dumps(row)[:250], flush=True)


def summary() -> dict[str, dict[str, float]]:
    """Return efficiency and lowest speed-up of each kind of plan."""
    rows = list(Records(TIMES))
    kinds = sorted({(row["speedup"], row["plan"]) for row in rows})
    found = {}
    for speedup, plan in kinds:
        mine = [row for row in rows if (row["speedup"], row["plan"]) == (speedup, plan)]
        found[f"{plan} at {speedup}x"] = {
            "models": len(mine),
            "median efficiency": float(np.median([row["efficiency"] for row in mine])),
            "lowest efficiency": min(row["efficiency"] for row in mine),
            "lowest speed-up": min(row["measured"] for row in mine),
        }
    return found


if __name__ == "__main__":
    work, *names = sys.argv[1:]
    {"prepare": prepare, "time": clock}[work](names or list(MODELS))
    if work == "time":
        print(json.dumps(summary(), indent=1))
