"""One page for each step of the loop: its evidence, as the Kubeflow UI or a browser shows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reprune.gate import words
from reprune.hardware.benchmark import CONTROL, Benchmark
from reprune.hardware.latency_table import LatencyTable
from reprune.hardware.statistics import Recording
from reprune.planning.sensitivity import Sensitivity
from reprune.report.html import Block, Note, Section, Table, page
from reprune.report.plots import latency, pruning
from reprune.report.plots import training as learning
from reprune.report.plots.latency import ProfilePoint
from reprune.report.plots.pruning import Round, SensitivityPoint
from reprune.training.history import History


def training(title: str, history: History, metric: str) -> str:
    """Return the page of a training: its curves and its epochs."""
    if not history.epochs:
        return page(title, "Not trained here", [Section("Training", [Note("The weights were taken as they are.")])])
    table = Table(
        headings=("epoch", "loss", f"{metric} on validation", "learning rate", "seconds"),
        rows=[
            (
                str(e.epoch),
                f"{e.loss:.4f}",
                words.percent(e.validation_score),
                f"{e.learning_rate:.2e}",
                f"{e.seconds:.1f}",
            )
            for e in history.epochs
        ],
        numeric=(0, 1, 2, 3, 4),
    )
    figure = learning.curves(history, name=title.lower(), metric=metric)
    return page(
        title, f"{words.count(len(history.epochs), 'epoch')}", [Section("Curves", [figure]), Section("Epochs", [table])]
    )


def profile(table: LatencyTable) -> str:
    """Return the page of a latency profile."""
    figure = latency.profile(profile_points(table))
    subtitle = f"{table.target.label()} · {len(table.points):,} measured latencies"
    lead = "What each operator costs over its output width; steps are the kernel's blocks."
    return page("Hardware profile", subtitle, [Section("Latency over width", [figure], lead=lead)])


def sensitivity(curves: Sensitivity, frozen: Sequence[str]) -> str:
    """Return the page of a sensitivity analysis, with what must stay dense and why."""
    figure = pruning.sensitivity(sensitivity_points(curves))
    sections = [
        Section("Loss over width", [figure], lead="How much the loss rises as a group narrows, all else dense.")
    ]
    if frozen:
        sections.append(Section("Left dense", [Note("What could not be proven safe to cut:", "plain", frozen)]))
    return page("Sensitivity", f"{len(curves.curves)} groups on {curves.examples} examples", sections)


def prune(widths: Mapping[str, tuple[int, int]], rounds: Sequence[Round], metric: str, notes: Sequence[str]) -> str:
    """Return the page of the iterative pruner."""
    sections = [Section("Plan", [Note("How the widths were chosen:", "plain", notes)])]
    if rounds:
        sections.append(Section("Rounds", [pruning.rounds(rounds, metric=metric)]))
    sections.append(Section("What was kept", [pruning.widths(widths)]))
    return page("Pruning", words.count(len(rounds), "round"), sections)


def export(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page of an export: sizes, and how far ONNX Runtime is from torch."""
    table = Table(
        headings=("model", "size", "parameters", "largest error", "mean error", "examples", "same predictions"),
        rows=[_exported(name, row) for name, row in models.items()],
        numeric=(1, 2, 3, 4, 5, 6),
    )
    return page("Export", "torch against ONNX Runtime", [Section("Parity", [table])])


def benchmark(measured: Benchmark, samples: Path) -> str:
    """Return the page of a benchmark on one target."""
    table = Table(
        headings=("model", "p50", "p95", "p99", "examples a second", "cold start", "speed-up"),
        rows=[_timed(name, measured) for name in measured.models],
        numeric=(1, 2, 3, 4, 5, 6),
    )
    seconds = {name: record.seconds for name, record in Recording.load(samples).samples.items()}
    blocks: list[Block] = [table, latency.distribution(seconds, target=measured.target.label())]
    subtitle = f"{measured.target.label()} · {measured.machine.cpu_model}"
    return page("Benchmark", subtitle, [Section("Dense and pruned, in turns", blocks)])


def profile_points(table: LatencyTable) -> list[ProfilePoint]:
    """Return a profile as its plot takes it."""
    return [
        ProfilePoint(operator=name, in_width=inputs, out_width=outputs, seconds=seconds)
        for name, inputs, outputs, seconds in table.points
    ]


def sensitivity_points(curves: Sensitivity) -> dict[str, list[SensitivityPoint]]:
    """Return sensitivity curves as their plot takes them."""
    return {
        name: [
            SensitivityPoint(width=p.width, loss_increase=p.loss_increase, standard_error=p.standard_error)
            for p in curve.points
        ]
        for name, curve in curves.curves.items()
    }


def _exported(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    parity = row["parity"]
    agreement = parity["argmax_agreement"]
    return (
        name,
        words.size(row["size_bytes"]),
        f"{row['parameters']:,}",
        f"{parity['max_abs_error']:.1e}",
        f"{parity['mean_abs_error']:.1e}",
        f"{parity['examples']:,}",
        "–" if agreement is None else words.percent(agreement),
    )


def _timed(name: str, measured: Benchmark) -> tuple[str, ...]:
    timing = measured.models[name]
    gain = timing.latency_ratio.inverse()
    ratio = "1" if name == measured.baseline else f"{gain.value:.2f}x ({gain.low:.2f} – {gain.high:.2f})"
    return (
        "dense again (control)" if name == CONTROL else name,
        words.seconds(timing.p50_seconds.value),
        words.seconds(timing.p95_seconds.value),
        words.seconds(timing.p99_seconds.value),
        f"{timing.throughput:,.0f}",
        words.seconds(timing.cold_start_seconds),
        ratio,
    )
