"""Measure how well the latency of whole graphs is predicted.

    python -m benchmarks.planning.prediction

Uses every graph that ``first_candidate.py`` measured while planning. For each model the prediction is fitted to the
dense graph and the first plans of three budgets, as in the planner, and tested on the graphs of the other budgets.
"""

from collections.abc import Iterable

import numpy as np

from benchmarks.planning.case import HERE, Case
from benchmarks.planning.first_candidate import PLANS
from benchmarks.planning.models import MODELS
from benchmarks.records import Record, Records
from reprune.planning.cost_model import Prices
from reprune.planning.latency_model import WholeGraph

LEARNED = (0.25, 0.45, 0.8)
"""Budgets whose first plan the prediction is fitted to."""

RESULTS = HERE / "prediction.jsonl"
KINDS = ("learned", "dense only")


def main() -> None:
    """Write the relative errors, and print their medians."""
    rows = [row for row in Records(PLANS) if "rounds" in row]
    results = {name: errors(name, [row for row in rows if row["model"] == name]) for name in MODELS}
    records = Records(RESULTS)
    records.replace({"model": name, **found} for name, found in results.items() if found["learned"])
    for record in [*records, {"model": "all", **together(records)}]:
        shown = {kind: f"{np.median(np.abs(record[kind])):.1%}" for kind in KINDS}
        print(f"{record['model']:20} {shown}")


def together(records: Iterable[Record]) -> dict[str, list[float]]:
    """Return the relative errors on the graphs of all models."""
    return {kind: [error for record in records for error in record[kind]] for kind in KINDS}


def errors(name: str, rows: list[dict]) -> dict[str, list[float]]:
    """Return one model's relative errors, fitted to a few graphs or to dense alone."""
    learned = [row for row in rows if row["budget"] in LEARNED]
    others = [row for row in rows if row["budget"] not in LEARNED]
    if not learned or not others:
        return {"learned": [], "dense only": []}
    case = Case(name)
    prices = Prices(case.analysis, [case.table])
    dense = rows[0]["dense_seconds"]

    def graph(examples: list[dict]) -> WholeGraph:
        found = WholeGraph(float(prices.latencies({})[0]), prices.elements({}), case.table.overhead_seconds)
        for row in examples:
            first = row["rounds"][0]
            seconds = first["measured_seconds"][0] / row["dense_seconds"] * dense
            found.learn(float(prices.latencies(first["widths"])[0]), prices.elements(first["widths"]), seconds)
        return found

    def predicted(found: WholeGraph, widths: dict[str, int]) -> float:
        return found.latency(float(prices.latencies(widths)[0] + found.rates @ prices.elements(widths)))

    whole = {"rounds": [{"widths": {}, "measured_seconds": [dense]}], "dense_seconds": dense}
    few, alone = graph([whole, *learned]), graph([whole])
    graphs = [
        (it["widths"], it["measured_seconds"][0] / row["dense_seconds"] * dense)
        for row in others
        for it in row["rounds"]
    ]
    return {
        "learned": [predicted(few, widths) / seconds - 1 for widths, seconds in graphs],
        "dense only": [predicted(alone, widths) / seconds - 1 for widths, seconds in graphs],
    }


if __name__ == "__main__":
    main()
