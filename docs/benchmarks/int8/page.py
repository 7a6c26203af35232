"""The page of the results, written anew from them."""

from collections.abc import Iterable
from statistics import mean
from typing import Any

HEAD = """# INT8 over the pruned model

What this page is for: to see what eight bits add to pruning, in time, bytes and accuracy, and where they do not pay.
The files are those that `quantize:` makes ([how to use it](../quantize.md)). Everything comes from one command, which
writes this page from [its raw results](int8/results.json):

```sh
python docs/benchmarks/int8/run.py
```
"""


def page(results: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    seen = results["machine"]
    sets = ", ".join(name for name in seen["instruction_sets"] if "vnni" in name or "avx" in name)
    parts = [HEAD, f"Measured on {seen['cpu']} ({sets}), one thread"]
    parts[-1] += ", weights of 7 bits because products saturate here.\n" if seen["reduced"] else ".\n"
    if "speed" in results:
        parts.append(_speed(results["speed"]))
    if "accuracy" in results:
        parts.append(_accuracy(results["accuracy"]))
    return "\n".join(parts)


def _speed(speed: dict[str, Any]) -> str:
    busy = [name for name, found in speed.items() if found["busy"]]
    lines = [
        "## Time and bytes",
        "",
        "Weights are random, for time does not depend on them. *Pruned* is the model at half its width. All files",
        "of a model run in turns in one process; in brackets is the 95 % interval. A ratio inside the spread of dense",
        "against itself says nothing, and **the pipeline then serves float**.",
        "",
    ]
    if busy:
        said = f"The machine was busy with other work during {len(busy)} of {len(speed)} comparisons."
        lines += [f"{said} Medians are then too long; ratios, taken in turns, have wide intervals.", ""]
    lines += [
        "| model | file | size | p50 | over dense | over pruned float | served | dense against itself |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in speed.items():
        control = found["control"]
        spread = f"{control['low']:.2f} – {control['high']:.2f}"
        for kind, row in found["models"].items():
            over = row["over_pruned"]
            pays = over["low"] > control["high"]
            cells = ["", kind, _size(row["size_bytes"]), _time(row["p50_seconds"]), _ratio(row["over_dense"])]
            cells += [_ratio(over), "yes" if pays else "**no**", ""]
            if kind == "dense":
                cells[0], cells[4:] = name, ["", "", "", spread]
            elif kind == "pruned":
                cells[5:7] = ["", ""]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _accuracy(rows: list[dict[str, Any]]) -> str:
    seeds = len({row["seed"] for row in rows})
    lines = [
        "## Accuracy",
        "",
        "Models are trained briefly, quantized with ranges from 256 training examples, and judged on the test split,",
        "which calibration and the choice of operators never see. "
        f"Means over {seeds} seed{'s' if seeds > 1 else ''}; *worst* is the largest loss.",
        "*In float* is how many operators the search left in float so that at most 0.5 points are lost on validation;",
        "the digits have 107 examples there, so that a single one more that is wrong is too many. Where half of them",
        "in float were not enough, the row shows that last try, which is not *allowed*: the pipeline serves float.",
        "",
        "| model | format | ranges | float | lost (points) | worst | same answers | bytes | in float | allowed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((row["model"], row["format"], row["calibration"]) for row in rows):
        same = [row for row in rows if (row["model"], row["format"], row["calibration"]) == key]
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2] or '–'} | {100 * _mean(same, 'float_score'):.1f} % "
            f"| {100 * _mean(same, 'drop'):+.2f} | {100 * max(row['drop'] for row in same):+.2f} "
            f"| {100 * _mean(same, 'agreement'):.1f} % | {_mean(same, 'size_ratio'):.2f} "
            f"| {', '.join(str(row['in_float']) for row in same)} of {same[0]['operators']} "
            f"| {'yes' if all(row['holds'] for row in same) else '**no**'} |"
        )
    return "\n".join([*lines, ""])


def _mean(rows: Iterable[dict[str, Any]], key: str) -> float:
    return mean(row[key] for row in rows)


def _ratio(found: dict[str, float]) -> str:
    return f"{found['value']:.2f}x ({found['low']:.2f} – {found['high']:.2f})"


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"
