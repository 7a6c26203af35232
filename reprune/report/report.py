"""The run's front page: the verdict and its reasons first, the numbers, the checks, then how it came about."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reprune import formatting
from reprune.gate.calibration_error import reliability
from reprune.gate.confidence_intervals import mean_interval
from reprune.gate.disagreements import Disagreement
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE, CHAMPION, DENSE, FLOAT, Answers
from reprune.gate.verdict import Check, Verdict
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.latency.bootstrap import Estimate, Recording
from reprune.inference.latency.latency_table import LatencyTable
from reprune.report import pages
from reprune.report.html import Block, Cell, KeyValues, Note, Section, Table, Tile, Tiles, Tone, page
from reprune.report.plots import latency, pruning, quality, training
from reprune.report.plots.pruning import Round, SensitivityPoint
from reprune.training.training_history import History

if TYPE_CHECKING:
    from reprune.training.temperature_scaling import Scaling

_TONES: dict[str, Tone] = {"passed": "good", "failed": "bad", "inconclusive": "bad", "skipped": "plain"}


def write_report(
    path: str | Path,
    *,
    title: str,
    subtitle: str,
    verdict: Verdict,
    evidence: Evidence,
    parameters: Mapping[str, int] | None = None,
    train: History | None = None,
    finetune: History | None = None,
    quantization: str = "",
    rounds: Sequence[Round] = (),
    sensitivity: Mapping[str, Sequence[SensitivityPoint]] | None = None,
    widths: Mapping[str, tuple[int, int]] | None = None,
    profile: LatencyTable | None = None,
    recordings: Sequence[str | Path] = (),
    scaling: "Scaling | None" = None,
    allowed_ratio: float | None = None,
    lineage: Mapping[str, str] | None = None,
) -> None:
    """Write the report of a run as one HTML file; what is not given is left out.

    Args:
        path: The file.
        title: The workload's name.
        subtitle: Run, date and machine, in one line.
        verdict: What the gate said.
        evidence: What it rests on.
        parameters: Number of parameters by model: ``dense``, ``pruned``.
        train: How the dense model was trained.
        finetune: How the pruned model was fine-tuned.
        quantization: Which file is served, in float or in fewer bits, and why, in words.
        rounds: What the pruner did.
        sensitivity: What narrowing each group does to the loss.
        widths: Width of each group, ``(dense, kept)``.
        profile: Latency of each operator over its width.
        recordings: Raw samples of the benchmarks (``.npz``), in the order of ``evidence.benchmarks``.
        scaling: How the pruned model's logits were scaled, if they were.
        allowed_ratio: The latency budget as a ratio of dense.
        lineage: Digests, hardware, versions, seed: names and values.
    """
    how = _how(evidence, train, finetune, rounds, sensitivity, widths, profile, allowed_ratio)
    sections = [
        _verdict(verdict),
        _numbers(evidence, parameters or {}, quantization),
        _checks(verdict),
        *_parity(evidence),
        *_latencies(evidence.benchmarks, recordings),
        *_quality(evidence, scaling),
        *how,
        *([Section("Lineage", [KeyValues(lineage)], lead="What this run was made of.")] if lineage else []),
    ]
    badge: tuple[str, Tone] = ("promote", "good") if verdict.passed else ("reject", "bad")
    Path(path).write_text(page(title, subtitle, sections, badge=badge), encoding="utf-8")


def checks_table(verdict: Verdict) -> Table:
    """Return all checks of a verdict as a table."""
    return Table(
        headings=("check", "outcome", "what was found"),
        rows=[
            (check.name, Cell(outcome(check), "warn" if check.warns else _TONES[check.status]), check.statement)
            for check in verdict.checks
        ],
    )


def outcome(check: Check) -> str:
    """Return a check's outcome in a word or two."""
    return f"{check.status} (warning)" if check.warns else check.status


def _verdict(verdict: Verdict) -> Section:
    reasons = [_sentence(reason) for reason in verdict.reasons()]
    passed = sum(check.status == "passed" for check in verdict.checks)
    made = sum(check.status != "skipped" for check in verdict.checks)
    counted = f"{passed} of {formatting.count(made, 'check')} passed."
    if not verdict.passed:
        blocks: list[Block] = [Note(f"The candidate is refused; the champion stays. {counted}", "bad", reasons)]
        warnings = [_sentence(check.statement) for check in verdict.checks if check.warns]
        blocks += [Note("Besides, these warnings do not block:", "warn", warnings)] if warnings else []
    else:
        blocks = [Note(f"The candidate may be promoted. {counted}", "good")]
        blocks += [Note("Warnings, which do not block:", "warn", reasons)] if reasons else []
    return Section("Verdict", blocks)


def _numbers(evidence: Evidence, parameters: Mapping[str, int], quantization: str) -> Section:
    blocks: list[Block] = [Note(_sentence(quantization), "plain")] if quantization else []
    if evidence.benchmarks:
        blocks.append(_tiles(evidence, parameters))
    blocks.append(_answers_table(evidence, parameters))
    blocks += [_timing_table(run, evidence) for run in evidence.benchmarks]
    lead = f"Every model answered the same {formatting.count(evidence.examples, 'test example')}, in ONNX Runtime."
    return Section("Dense and pruned", blocks, lead=lead)


def _tiles(evidence: Evidence, parameters: Mapping[str, int]) -> Tiles:
    run = evidence.benchmarks[0]
    gain = run.speedup(CANDIDATE)
    drop = evidence.answers[CANDIDATE].scores.mean() - evidence.answers[DENSE].scores.mean()
    sizes = evidence.size_bytes
    tiles = [
        Tile(
            "speed-up",
            f"{gain.value:.2f}x",
            f"{gain.low:.2f} – {gain.high:.2f}, {run.target.label()}",
            "good" if run.faster(CANDIDATE) else "bad",
        ),
        Tile(f"{evidence.metric}", _score(evidence, CANDIDATE).text, f"{_signed(float(drop), evidence)} against dense"),
        Tile(
            "size", formatting.size(sizes[CANDIDATE]), f"{formatting.percent(sizes[CANDIDATE] / sizes[DENSE])} of dense"
        ),
    ]
    if {DENSE, CANDIDATE} <= set(parameters):
        share = parameters[CANDIDATE] / parameters[DENSE]
        tiles.append(Tile("parameters", f"{parameters[CANDIDATE]:,}", f"{formatting.percent(share)} of dense"))
    return Tiles(tiles)


def _answers_table(evidence: Evidence, parameters: Mapping[str, int]) -> Table:
    named = [name for name in (DENSE, FLOAT, CANDIDATE, CHAMPION) if name in evidence.answers]
    return Table(
        headings=("model", f"{evidence.metric} (95 % CI)", "mean loss", "parameters", "size"),
        rows=[
            (
                _called(name, evidence),
                _score(evidence, name),
                formatting.plain(float(evidence.answers[name].losses.mean())),
                f"{parameters[name]:,}" if name in parameters else "–",
                formatting.size(evidence.size_bytes[name]),
            )
            for name in named
        ],
        numeric=(1, 2, 3, 4),
    )


def _called(name: str, evidence: Evidence) -> str:
    """Return what tables call a model; a candidate that was quantized has its float file beside it."""
    formats = {FLOAT: "float", CANDIDATE: evidence.quantized.format} if evidence.quantized else {}
    return f"pruned, {formats[name]}" if name in formats else name


def _timing_table(run: Benchmark, evidence: Evidence) -> Table:
    known = (DENSE, FLOAT, CANDIDATE, CHAMPION)
    others = [name for name in run.models if name not in (*known, "control")]
    named = [name for name in (*known, *others, "control") if name in run.models]
    rows: list[tuple[str | Cell, ...]] = []
    for name in named:
        timing = run.models[name]
        gain = run.noise.inverse() if name == "control" else timing.latency_ratio.inverse()
        interval = f"{gain.low:.2f} – {gain.high:.2f}"
        rows.append(
            (
                "dense again (control)" if name == "control" else _called(name, evidence),
                *(_duration(it) for it in (timing.p50_seconds, timing.p95_seconds, timing.p99_seconds)),
                f"{timing.throughput:,.0f}",
                Cell(
                    "1" if name == run.baseline else f"{gain.value:.2f}x",
                    detail="" if name == run.baseline else interval,
                ),
            )
        )
    return Table(
        headings=("latency", "p50", "p95", "p99", "examples/s", "speed-up"),
        rows=rows,
        numeric=(1, 2, 3, 4, 5),
        caption=f"{run.target.label()} on {run.machine.cpu_model}; {formatting.count(run.rounds, 'interleaved round')}"
        f"{'; the machine was busy with other work' if run.load.contended else ''}",
    )


def _duration(measured: Estimate) -> Cell:
    low, high = (formatting.seconds(value) for value in (measured.low, measured.high))
    unit = high.split()[1]
    return Cell(formatting.seconds(measured.value), detail=f"{low.removesuffix(f' {unit}')} – {high}")


def _score(evidence: Evidence, name: str) -> Cell:
    scores = evidence.answers[name].scores
    found = mean_interval(scores)
    if _shares(evidence):
        return Cell(formatting.percent(found.value), detail=f"{100 * found.low:.1f} – {100 * found.high:.1f}")
    return Cell(formatting.plain(found.value), detail=f"{formatting.plain(found.low)} – {formatting.plain(found.high)}")


def _signed(change: float, evidence: Evidence) -> str:
    text = f"{formatting.points(abs(change))} points" if _shares(evidence) else formatting.plain(abs(change))
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{text}"


def _shares(evidence: Evidence) -> bool:
    return all(bool(((it.scores >= 0) & (it.scores <= 1)).all()) for it in evidence.answers.values())


def _checks(verdict: Verdict) -> Section:
    lead = "A check passes when its bound, not its estimate, clears what is allowed; a slice, unless harm is shown."
    return Section("Checks", [checks_table(verdict)], lead=lead)


def _parity(evidence: Evidence) -> list[Section]:
    if not evidence.parity:
        return []
    hops = {**evidence.parity, **(evidence.quantized.hop if evidence.quantized else {})}
    return [
        Section("Parity", [pages.parity(hops)], lead="How far outputs move at each hop from torch to what is served.")
    ]


def _latencies(benchmarks: Sequence[Benchmark], recordings: Sequence[str | Path]) -> list[Section]:
    figures: list[Block] = []
    for run, recording in zip(benchmarks, recordings, strict=False):
        samples = Recording.load(Path(recording)).samples
        seconds = {name: record.seconds for name, record in samples.items()}
        figures.append(latency.distribution(seconds, target=run.target.label()))
    return [Section("Latency", figures)] if figures else []


def _quality(evidence: Evidence, scaling: "Scaling | None") -> list[Section]:
    sections: list[Section] = []
    dense, candidate = evidence.answers[DENSE], evidence.answers[CANDIDATE]
    if evidence.slices:
        figure = quality.by_slice(dense.scores, candidate.scores, evidence.slices, metric=evidence.metric)
        sections.append(Section("Slices", [figure], lead="Where the pruned model gained and lost."))
    if all(it.confidence is not None and np.isfinite(it.confidence).all() for it in (dense, candidate)):
        sections.append(_calibration({DENSE: dense, CANDIDATE: candidate}, scaling))
    if evidence.disagreements:
        gallery = quality.disagreements(evidence.disagreements)
        shown = formatting.count(len(gallery.pictures or evidence.disagreements), "example")
        lead = f"{shown} where the pruned model changed its mind (dense → pruned), worst first."
        shows: Block = gallery if gallery.pictures else _disagreements(evidence.disagreements)
        sections.append(Section("Disagreements", [shows], lead=lead))
    return sections


def _disagreements(found: Sequence[Disagreement]) -> Table:
    """List the examples that are no pictures by their place in the test split."""
    return Table(
        headings=("example", "label", "dense", "pruned", "rise of the loss"),
        rows=[
            (f"{it.index}", f"{it.label}", f"{it.dense}", f"{it.candidate}", formatting.plain(it.harm)) for it in found
        ],
        numeric=(0, 1, 2, 3, 4),
    )


def _calibration(answers: Mapping[str, Answers], scaling: "Scaling | None") -> Section:
    """Show the reliability of dense and pruned side by side, and of pruned before it was scaled."""
    figures = [
        quality.calibration(reliability(it.confidence, it.scores), name=name)
        for name, it in answers.items()
        if it.confidence is not None
    ]
    lead = "Whether a confidence of 90 % is right 90 % of the time."
    if scaling is not None and scaling.temperature is not None:
        figures.insert(1, quality.calibration(scaling.before, name=f"{CANDIDATE}, before scaling"))
        lead += f" The pruned model's logits are divided by {scaling.temperature:.2f}, fitted on validation, in its "
        lead += f"layer {scaling.layer}."
    return Section("Calibration", figures, lead=lead, columns=True)


def _how(
    evidence: Evidence,
    train: History | None,
    finetune: History | None,
    rounds: Sequence[Round],
    sensitivity: Mapping[str, Sequence[SensitivityPoint]] | None,
    widths: Mapping[str, tuple[int, int]] | None,
    profile: LatencyTable | None,
    allowed_ratio: float | None,
) -> list[Section]:
    """Return the sections on how the candidate came about, in the order of the pipeline."""
    metric, percent = evidence.metric, _shares(evidence)
    sections = []
    trained = [(it, name) for it, name in ((train, "dense"), (finetune, "fine-tuning")) if it is not None and it.epochs]
    if trained:
        figures = [training.curves(it, name=name, metric=metric, percent=percent) for it, name in trained]
        sections.append(Section("Training", figures, columns=True))
    if rounds:
        figure = pruning.rounds(rounds, metric=metric, allowed_ratio=allowed_ratio, percent=percent)
        sections.append(Section("Pruning, round by round", [figure]))
    if widths:
        sections.append(Section("What was kept", [pruning.widths(widths)]))
    if sensitivity:
        sections.append(
            Section("Sensitivity", [pruning.sensitivity(sensitivity)], lead="What each group's width is worth.")
        )
    if profile is not None:
        sections.append(
            Section("Latency over width", [latency.profile(profile)], lead="What each group's width costs.")
        )
    return sections


def _sentence(statement: str) -> str:
    """Return a statement as a sentence; a name such as p50 keeps its case."""
    return statement[0].upper() + statement[1:] if statement.split()[0].isalpha() else statement
