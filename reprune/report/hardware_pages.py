"""The pages of what was measured: a benchmark of models, and a profile of a machine."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from reprune import formatting
from reprune.config.target import Machine
from reprune.inference.latency.benchmark import CONTROL, Benchmark
from reprune.inference.latency.bootstrap import Estimate, Recording
from reprune.inference.latency.profile_store import Profiled
from reprune.inference.latency.profile_summary import OperatorSummary, by_kind, summarize
from reprune.report.html import Block, Cell, KeyValues, Note, Section, Table, Tone, page
from reprune.report.plots import latency


def benchmark(measured: Benchmark, samples: Path) -> str:
    """Return the page of a benchmark on one target.

    Args:
        measured: The benchmark.
        samples: The ``.npz`` file with its raw samples.
    """
    seconds = {name: record.seconds for name, record in Recording.load(samples).samples.items()}
    others = [name for name in measured.models if name not in (measured.baseline, CONTROL)]
    told: list[Block] = [Note(f"{name}: {measured.finding(name)}.", _tone(measured, name)) for name in others]
    if measured.load.contended:
        told.append(Note(measured.load.warning(), "warn"))
    drawn = latency.distribution(seconds, target=measured.target.label(), baseline=measured.baseline)
    sections = [
        Section("What can be told", [*told, latency.ratios(_ratios(measured), measured.noise, measured.baseline)]),
        Section("Latency", [_timings(measured), drawn]),
        Section("How it was measured", [KeyValues(_setup(measured))]),
    ]
    subtitle = f"{measured.target.label()} · {measured.machine.cpu_model}"
    return page("Benchmark", subtitle, sections)


def _ratios(measured: Benchmark) -> dict[str, Estimate]:
    return {name: it.latency_ratio for name, it in measured.models.items() if name != measured.baseline}


def _timings(measured: Benchmark) -> Table:
    headings = ("model", "p50", "p95", "p99", "examples a second", "peak memory", "cold start", "size", "latency ratio")
    return Table(
        headings=headings,
        rows=[_row(name, measured) for name in measured.models],
        numeric=range(1, len(headings)),
        caption=f"Under each number its 95 % interval; ratios are to {measured.baseline}, in the same round.",
    )


def _row(name: str, measured: Benchmark) -> list[Cell]:
    timing = measured.models[name]
    quantiles = (timing.p50_seconds, timing.p95_seconds, timing.p99_seconds)
    peak = timing.peak_memory_bytes
    ratio = timing.latency_ratio
    return [
        Cell(f"{measured.baseline} again (control)" if name == CONTROL else name),
        *(Cell(formatting.seconds(it.value), detail=_interval(it)) for it in quantiles),
        Cell(f"{timing.throughput:,.0f}"),
        Cell("unknown" if peak is None else formatting.size(peak)),
        Cell(formatting.seconds(timing.cold_start_seconds)),
        Cell(formatting.size(timing.size_bytes)),
        Cell("1")
        if name == measured.baseline
        else Cell(formatting.times(ratio.value), _tone(measured, name), f"{ratio.low:.2f} – {ratio.high:.2f}"),
    ]


def _interval(it: Estimate) -> str:
    return formatting.seconds_interval(it.value, it.low, it.high)


def _tone(measured: Benchmark, name: str) -> Tone:
    return "good" if measured.faster(name) else "bad" if measured.slower(name) else "plain"


def _setup(measured: Benchmark) -> Mapping[str, str]:
    load, cores = measured.load, measured.pinned_cores
    noise = measured.noise
    return {
        "control": f"{measured.baseline} against itself: {noise.value:.3f} ({noise.low:.3f} – {noise.high:.3f})",
        "rounds": f"{measured.rounds:,}, each with all models in random order; the models were opened anew "
        f"{formatting.count(measured.sessions, 'time')}",
        "cores": f"bound to {', '.join(map(str, cores))}" if cores else "not bound",
        "other processes": load.text(),
        **_machine(measured.machine),
    }


def _machine(machine: Machine) -> dict[str, str]:
    described = {name.replace("_", " "): value for name, value in asdict(machine).items()}
    return {name: " ".join(it) if isinstance(it, tuple) else str(it) for name, it in described.items()}


def profile(found: Sequence[Profiled]) -> str:
    """Return the page of latency profiles of one model, a section a target."""
    sections = [section for it in found for section in _profile(it, named=len(found) > 1)]
    points = sum(len(it.asked.points) for it in found)
    subtitle = f"{', '.join(it.table.target.label() for it in found)} · {points:,} measured latencies"
    return page("Hardware profile", subtitle, sections)


def _profile(found: Profiled, *, named: bool) -> list[Section]:
    table, summaries = found.asked, summarize(found.asked)
    known, new = sum(found.reused.values()), sum(found.measured.values())
    notes = [Note(text, "warn") for text in (found.discarded, found.load.warning()) if text]
    setup = {
        **(_machine(table.machine) if table.machine else {}),
        "kept as": found.key,
        "latencies": f"{known:,} known before, {new:,} measured now in {found.seconds:.1f} s",
        "a call": f"{formatting.seconds(table.overhead_seconds)} when there is nothing to compute",
        "other processes": found.load.text(),
    }
    kinds = Note("By kind:", "plain", [it.text() for it in by_kind(summaries)])
    suffix = f": {table.target.label()}" if named else ""
    drawn = latency.profile(table)
    lead = "What each operator costs over its output width."
    return [
        Section(f"Latency over width{suffix}", [*notes, drawn], lead=lead),
        Section(f"Operators{suffix}", [kinds, _operators(summaries)]),
        Section(f"The machine{suffix}", [KeyValues(setup)]),
    ]


def _operators(summaries: Sequence[OperatorSummary]) -> Table:
    headings = ("operator", "widest", "latency", "fixed cost", "block in", "block out", "latencies")
    rows = [
        (
            it.operator,
            f"{it.in_width} → {it.out_width}",
            formatting.seconds(it.seconds),
            formatting.seconds(it.fixed_seconds),
            str(it.input.block),
            str(it.output.block),
            f"{it.points:,}",
        )
        for it in summaries
    ]
    caption = "Widths are rounded up to blocks inside the kernel: a smaller step saves nothing."
    return Table(headings, rows, numeric=range(1, len(headings)), caption=caption)
