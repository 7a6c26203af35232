"""Write the raw results into the tables of ``docs/benchmarks/recovery.md``."""

from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from benchmarks.pages import write_tables
from benchmarks.records import Records

RESULTS = Path(__file__).with_name("results.jsonl")
METHODS = ("iterative + distillation", "one-shot", "one-shot + distillation", "plain iterative")
WORKLOADS = ("digits", "stdlib-text")
LEVELS = ("0.5", "0.8", "0.9", "0.95", "0.98", "0.99", "2x", "4x", "8x")


def main() -> None:
    """Write every table into the page."""
    write_tables("recovery.md", tables(Records(RESULTS)))


def tables(records: Records) -> dict[str, str]:
    """Return every table of the page, by name."""
    return {
        f"{workload}-{quantity}": f"\n{_table(records.select(workload=workload), quantity)}\n\n"
        for workload in WORKLOADS
        for quantity in ("score", "loss")
    }


def _table(rows: list[dict], quantity: str) -> str:
    """Return the table of losses against dense, in points or nats.

    Only seeds with a result of every method count.
    """
    scale, sign = (100, 1) if quantity == "score" else (1, -1)
    found: dict[tuple[str, int], dict[str, float | None]] = defaultdict(dict)
    for row in rows:
        lost = sign * scale * (row["dense"][quantity] - row[quantity]) if quantity in row else None
        found[row["level"], row["seed"]][row["method"]] = lost
    out = [f"| level | seeds | {' | '.join(METHODS)} |", "|---|---|" + "---|" * len(METHODS)]
    for level in LEVELS:
        seeds = [it for (of, _), it in sorted(found.items()) if of == level and set(it) == set(METHODS)]
        if seeds:
            cells = [[value for it in seeds if (value := it[method]) is not None] for method in METHODS]
            out.append(f"| {_named(level)} | {len(seeds)} | {' | '.join(_cell(it, cells) for it in cells)} |")
    return "\n".join(out) if len(out) > 2 else "Not measured yet."


def _cell(values: list[float], others: list[list[float]]) -> str:
    if not values:
        return "–"
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    shown = f"{round(mean(values), 2) + 0.0:.2f}{spread}"  # + 0.0 turns -0.0 into 0.0
    return f"**{shown}**" if mean(values) == min(mean(it) for it in others if it) else shown


def _named(level: str) -> str:
    return f"{level[:-1]}× faster" if level.endswith("x") else f"{float(level):.0%} of the weights removed"


if __name__ == "__main__":
    main()
