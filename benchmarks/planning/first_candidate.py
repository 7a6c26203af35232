"""Plan seven models for several latency budgets, and time the plans again.

    python -m benchmarks.planning.first_candidate plan [model ...]      # resumes
    python -m benchmarks.planning.first_candidate time [model ...]      # resumes

The second command times the graphs of the first in a process of its own.
"""

import json
import sys
import time

import numpy as np

from benchmarks.planning.case import HERE, WORK, Case, ratios, slug
from benchmarks.planning.models import MODELS, build
from benchmarks.records import Records
from reprune.config.sections import Budget
from reprune.inference.onnx.export import export
from reprune.planning.knapsack import InfeasibleError
from reprune.planning.plan import make_plan

BUDGETS = (0.25, 0.3, 0.35, 0.45, 0.55, 0.65, 0.7, 0.8)
FEWER = ("MobileNetV2", "ViT-S", "ResNet-50")
"""Large models, planned for every other budget only."""
PLANS, TIMES = HERE / "first_candidate_plans.jsonl", HERE / "first_candidate.jsonl"


def plan(names: list[str]) -> None:
    """Make the plans that the file lacks, and export their graphs."""
    done = Records(PLANS, ("model", "budget"))
    for name in names:
        budgets = BUDGETS[::2] if name in FEWER else BUDGETS
        wanted = [budget for budget in budgets if not done.has(name, budget)]
        case = Case(name) if wanted else None
        for budget in wanted:
            row = done.add(**planned(case, budget))
            print(json.dumps(row)[:200], flush=True)


def planned(case: Case, budget: float) -> dict:
    """Make one plan and export its graph."""
    table, losses, dense = case.table, case.sensitivity, case.measure({})
    start, cpu = time.perf_counter(), time.process_time()
    try:
        found = make_plan(case.analysis, [table], losses, Budget(latency=f"{budget}x"), measure=case.measure)
    except InfeasibleError as error:
        return {"model": case.name, "budget": budget, "infeasible": f"{error.message} {error.remedy}"}
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    folder = WORK / slug(case.name)
    folder.mkdir(parents=True, exist_ok=True)
    export(case.model, case.inputs, folder / "dense.onnx")
    export(case.cut(found.widths), case.inputs, folder / f"{budget}.onnx")
    return {
        "model": case.name,
        "budget": budget,
        "planned_ratio": found.measured_latency_seconds[0] / found.dense_seconds[0],
        "macs_ratio": case.macs(found.widths) / case.macs(),
        "planning_seconds": seconds,
        "planning_cpu_seconds": cpu,
        "dense_seconds": dense[0],
        "rounds": [it.model_dump() for it in found.rounds],
        "widths": found.widths,
    }


def clock(names: list[str]) -> None:
    """Time each plan's graph in turns with the dense one, in new sessions."""
    done = Records(TIMES, ("model", "budget"))
    for name in names:
        budgets = [it["budget"] for it in Records(PLANS).select(model=name) if "infeasible" not in it]
        if not budgets or all(done.has(name, budget) for budget in budgets):
            continue
        _, inputs, target = build(name)
        folder = WORK / slug(name)
        files = {"dense": folder / "dense.onnx"} | {str(budget): folder / f"{budget}.onnx" for budget in budgets}
        found = ratios(files, inputs, target)
        for budget in budgets:
            timed = found[str(budget)]
            ratio, control = float(np.median(timed)), found["control"]
            row = done.add(model=name, budget=budget, ratio=ratio, sessions=timed, control=control)
            print(json.dumps(row), flush=True)


def summary() -> dict[str, float]:
    """Return the share of plans within their budget, and of those close to it."""
    used = np.array([row["ratio"] / row["budget"] for row in Records(TIMES)])
    return {
        "pairs": len(used),
        "within budget": float(np.mean(used <= 1)),
        "at least 85 % of the budget": float(np.mean(used >= 0.85)),
        "median share of the budget": float(np.median(used)),
    }


if __name__ == "__main__":
    work, *names = sys.argv[1:]
    {"plan": plan, "time": clock}[work](names or list(MODELS))
    if work == "time":
        print(json.dumps(summary(), indent=1))
