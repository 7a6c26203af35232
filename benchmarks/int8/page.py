"""Make ``docs/benchmarks/int8.md`` from the raw results."""

from statistics import mean, median
from typing import Any

from benchmarks.records import Record

HEAD = """# INT8 on top of pruning

This page shows the gain of eight bits on top of pruning in time and bytes, the cost in accuracy, and the models for
which INT8 does not pay. The files are those of `quantize:` ([how to use it](../quantize.md)). One command measures
everything and writes this page from the raw results in [`benchmarks/int8/`](../../benchmarks/int8/):

```sh
python -m benchmarks.int8.run
```
"""


CONTROL = "control"

SPEED = """## Time and bytes

Weights are random, since time does not depend on them. *Pruned* is the model at half its width. All files of a model
run in turns, one thread each, in {sessions} new sessions. Time is processor time, the tenth percentile of a session's
calls as in the planner, so other work on the machine has little effect. Ratios are medians over the sessions; the
brackets give the second smallest and the second largest, a 98 % interval of the median. A ratio that is not above
that of dense against itself is not significant, and **the pipeline then serves float**.

| model | file | size | time | over dense | over pruned float | served | dense against itself |
|---|---|---|---|---|---|---|---|"""

SATURATION = """## Processors whose products saturate

x86 with AVX2 but without VNNI adds two products of unsigned and signed bytes in 16 bits. Two of
255 × 64 fit, two of 255 × 65 do not: with weights of 8 bits the sum stops at its limit and is wrong, with weights of 7
bits it is exact. SSE4 and VNNI are exact with both. `tests/reprune/onnx/test_quantize.py` multiplies at these limits on
the processor that it runs on; it was run on EPYC with VNNI, and under qemu 7.2 as Haswell (AVX2) and Nehalem (SSE4).

On a processor with AVX2 alone, a small convolutional network was off by 1.5 % of its largest output with weights of 8
bits and by 1.1 % with 7. Unsigned weights were off by 0.9 %, but only 1.2 times as fast as float, in place of 1.7
times. So the pipeline keeps to 7 bits where products saturate.
"""

ACCURACY = """## Accuracy

Models are trained briefly, quantized with ranges from 256 training examples, and evaluated on the test split, which
calibration and the choice of operators do not use. Points lost are means over the seeds that *allowed* counts, with
the largest loss in brackets.

- *All in 8 bits*: every operator is quantized, at any loss.
- *As served*: if that loses more than 0.5 points on validation, the most sensitive operators stay in float, as few as
  possible. The digits have 107 examples there, so one more wrong example is too many. If half of the operators are
  not enough, the row shows that last attempt, which is not *allowed*: the pipeline then trains further under
  rounding, and serves float if that does not help.
- *After rounding*: training continues for {epochs} epochs as with `quantize.epochs`, with the float model as the
  teacher, and then every operator is quantized. This is measured for each model, needed or not; the loss is against
  the float model before.

The constructed model shows the effect of training under rounding: its channels were scaled apart by up to nine
octaves and the next layers scaled back, which changes nothing in float. The others are as trained. Blank cells were
not measured.

| model | format | ranges | float | all in 8 bits | in float | as served | allowed | after rounding | bytes |
|---|---|---|---|---|---|---|---|---|---|"""


def page(conditions: dict[str, Any], speed: list[Record], accuracy: list[Record]) -> str:
    """Return the page as Markdown."""
    sets = ", ".join(name for name in conditions["instruction_sets"] if "vnni" in name or "avx" in name)
    parts = [HEAD, f"Measured on {conditions['cpu']} ({sets}), one thread"]
    parts[-1] += ", weights of 7 bits because products saturate here.\n" if conditions["reduced"] else ".\n"
    if speed:
        parts.append(_speed(speed))
    parts.append(SATURATION)
    if accuracy:
        parts.append(_accuracy(accuracy, conditions["aware_epochs"]))
    return "\n".join(parts)


def _speed(records: list[Record]) -> str:
    lines = [SPEED.format(sessions=max(len(record["sessions"]) for record in records))]
    for record in records:
        name, sessions, sizes = record["model"], record["sessions"], record["size_bytes"]
        control = _ratios(sessions, "dense", CONTROL)
        for kind, size in sizes.items():
            cells = ["", kind, _size(size), _time(median(session[kind] for session in sessions)), "", "", "", ""]
            if kind == "dense":
                cells[0], cells[7] = name, f"{control[1]:.2f} – {control[-2]:.2f}"
            else:
                cells[4] = _ratio(_ratios(sessions, "dense", kind))
            if kind not in ("dense", "pruned"):
                over = _ratios(sessions, "pruned", kind)
                cells[5:7] = [_ratio(over), "yes" if over[1] > control[-2] else "**no**"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _accuracy(rows: list[Record], epochs: int) -> str:
    lines = [ACCURACY.format(epochs=epochs)]
    rows = sorted(rows, key=lambda row: row["model"])
    for key in dict.fromkeys((row["model"], row["format"], row["calibration"]) for row in rows):
        same = [row for row in rows if (row["model"], row["format"], row["calibration"]) == key]
        held = sum(row["holds"] for row in same)
        cells = [key[0], key[1], key[2] or "–", f"{100 * mean(row['kept']['float_score'] for row in same):.1f} %"]
        cells += [_lost(same, "whole"), f"{', '.join(str(row['in_float']) for row in same)} of {same[0]['operators']}"]
        cells += [_lost(same, "kept"), f"{held} of {len(same)}", _lost(same, "aware")]
        cells.append(f"{mean(row['size_ratio'] for row in same):.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _lost(rows: list[Record], key: str) -> str:
    drops = [100 * row[key]["drop"] for row in rows if key in row]
    return f"{mean(drops):+.2f} ({max(drops):+.2f})" if drops else ""


def _ratios(sessions: list[dict[str, float]], top: str, bottom: str) -> list[float]:
    """Return the speed-ups of one file over another by session, sorted."""
    return sorted(session[top] / session[bottom] for session in sessions)


def _ratio(ratios: list[float]) -> str:
    return f"{median(ratios):.2f}x ({ratios[1]:.2f} – {ratios[-2]:.2f})"


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"
