"""Plans for seven models at six latency budgets each, timed again afterwards in processes of their own.

Run: ``python docs/benchmarks/planning/first_candidate.py [model ...]``; it goes on where it was stopped.
"""

import sys
import time

from case import HERE, Case, Lines
from models import MODELS

from reprune.hardware.benchmark import compare
from reprune.onnx.export import export
from reprune.planning.knapsack import InfeasibleError
from reprune.planning.plan import make_plan
from reprune.structure import feed
from reprune.workload import Budget

BUDGETS = (0.25, 0.35, 0.45, 0.55, 0.65, 0.8)
SECONDS = 10.0


def main(names: list[str]) -> None:
    """Plan, measure, and keep a line for each pair of model and budget."""
    done = Lines(HERE / "first_candidate.jsonl", ("model", "budget"))
    for name in names:
        wanted = [budget for budget in BUDGETS if not done.has(name, budget)]
        case = Case(name) if wanted else None
        for budget in wanted:
            row = one(case, budget)
            done.add(**row)
            print({k: v for k, v in row.items() if k != "rounds"}, flush=True)


def one(case: Case, budget: float) -> dict:
    """Make one plan, then time it against the dense model in a fresh process."""
    table, losses, watch = case.table, case.sensitivity, case.watch
    start = time.perf_counter()
    common = {"model": case.name, "budget": budget}
    try:
        plan = make_plan(
            case.analysis,
            [table],
            losses,
            Budget(latency=f"{budget}x"),
            measure=case.measure,
            dense_size_bytes=watch.dense_size_bytes,
        )
    except InfeasibleError as error:
        return common | {"infeasible": error.remedy}
    seconds = time.perf_counter() - start
    path = case.folder / "plan.onnx"
    export(case.cut(plan.widths), case.inputs, path)
    files = {"dense": case.folder / "dense.onnx", "plan": path}
    found = compare(files, feed(case.inputs), case.target, seconds=SECONDS)
    timed = found.models["plan"]
    return common | {
        "ratio": timed.latency_ratio.value,
        "low": timed.latency_ratio.low,
        "high": timed.latency_ratio.high,
        "control": [found.noise.low, found.noise.value, found.noise.high],
        "planned_ratio": plan.measured_latency_seconds[0] / plan.dense_seconds[0],
        "macs_ratio": case.macs(plan.widths) / case.macs(),
        "dense_seconds": found.models["dense"].p50_seconds.value,
        "planning_seconds": seconds,
        "busy_cores": found.load.model_dump(),
        "rounds": [it.model_dump() for it in plan.rounds],
    }


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
