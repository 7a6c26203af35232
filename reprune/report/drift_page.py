"""The page of a drift decision: what moved, by how much, and what was decided."""

from functools import partial

from matplotlib.figure import Figure as Canvas

from reprune.drift.decision import Decision
from reprune.drift.drift_report import DriftReport, DriftTest, Histogram, Quality
from reprune.report import theme
from reprune.report.html import Block, Cell, Figure, Note, Section, Table, Tone, page

ROWS = 12
"""Tests that the table shows; the JSON has them all."""


def render(decision: Decision) -> str:
    """Return the page of a decision."""
    tone: Tone = {"skip": "good", "reprune": "warn"}[decision.action]  # type: ignore[assignment]
    report = decision.report
    if report is None or not report.tests:
        sections = [Section("No tests ran", [Note(decision.reason)])]
    else:
        sections = _sections(report)
    return page("Drift", decision.reason, sections, badge=(decision.action, tone))


def render_report(report: DriftReport, compared: str) -> str:
    """Return the page of a comparison; ``compared`` says of what with what."""
    tone: Tone = {"drift": "warn", "no drift": "good", "inconclusive": "plain"}[report.verdict]  # type: ignore[assignment]
    sections = _sections(report) if report.tests else [Section("No tests ran", [Note(report.summary)])]
    return page(f"Drift of {compared}", report.summary, sections, badge=(report.verdict, tone))


def _sections(report: DriftReport) -> list[Section]:
    return [_tests(report), _effects(report), _distributions(report)]


def _tests(report: DriftReport) -> Section:
    shown = report.tests[:ROWS]
    left = len(report.tests) - len(shown)
    blocks: list[Block] = [
        Table(
            ["what", "watched in", "test", "verdict", "statistic", "threshold", "shift", "p alone", "p of all"],
            [_row(test) for test in shown],
            numeric=(4, 5, 6, 7, 8),
        )
    ]
    if left:
        blocks.append(Note(f"{left} more tests, less surprising than these, are in the report's JSON."))
    lead = (
        f"{report.window_examples:,} production examples against {report.reference_examples:,} of the reference. "
        f"All tests together raise a false alarm in {report.false_alarm_rate:.2g} of windows without drift; thresholds "
        "come from permutations of these very examples."
    )
    return Section("What moved", blocks, lead=lead)


def _row(test: DriftTest) -> list[str | Cell]:
    tone: Tone = "warn" if test.alarm else "plain"
    return [
        test.name,
        test.group,
        test.method,
        Cell("alarm" if test.alarm else "no alarm", tone),
        f"{test.statistic:.3g}",
        f"{test.threshold:.3g}",
        "" if test.effect is None or test.effect.shift is None else f"{test.effect.shift:+.2f} sd",
        f"{test.p_value:.3g}",
        f"{test.adjusted_p_value:.3g}",
    ]


def _effects(report: DriftReport) -> Section:
    rows: list[list[str | Cell]] = [
        [
            test.name,
            f"{test.effect.psi:.3f}",
            f"{test.effect.distance:.3f}",
            "" if test.effect.wasserstein is None else f"{test.effect.wasserstein:.2f} sd",
            f"{test.effect.missing[0]:.1%}",
            f"{test.effect.missing[1]:.1%}",
            ", ".join(test.effect.new_categories),
        ]
        for test in report.tests
        if test.effect is not None
    ]
    headings = ["what", "PSI", "distance", "Wasserstein", "missing before", "missing now", "new categories"]
    blocks: list[Block] = [Table(headings, rows[:ROWS], numeric=(1, 2, 3, 4, 5))] if rows else []
    if report.separability is not None:
        blocks.append(
            Note(
                f"A linear classifier tells the two apart with an area under the curve of "
                f"{report.separability:.2f} (0.5 is not at all)."
            )
        )
    if report.quality is not None:
        blocks.append(Note(_accuracy(report.quality), tone="warn" if report.quality.agrees is False else "plain"))
    blocks += [Note(note, tone="warn") for note in report.notes]
    return Section("How far", blocks, lead="Sizes of effects, from all rows; no threshold is put on them.")


def _accuracy(quality: Quality) -> str:
    low, high = quality.estimated_interval
    text = (
        f"Accuracy is {quality.reference:.1%} on the reference; in the window it is {quality.estimated:.1%} "
        f"({low:.1%} to {high:.1%}), estimated from confidence."
    )
    if quality.actual is None:
        return text
    text += f" Of {quality.labelled:,} predictions with labels, {quality.actual:.1%} are right."
    return text if quality.agrees else f"{text} The estimate does not hold: the model errs in new ways."


def _distributions(report: DriftReport) -> Section:
    figures = [
        Figure(
            theme.draw(partial(_paint, histogram), height=2.4),
            alt=f"Distribution of {histogram.name} in the reference and in production",
            caption=histogram.name,
        )
        for histogram in report.histograms
    ]
    return Section(
        "Distributions",
        figures,
        lead="Reference (grey) and production (blue); the most surprising first.",
        columns=True,
    )


def _paint(histogram: Histogram, canvas: Canvas) -> None:
    axes = canvas.subplots()
    if histogram.categorical:
        places = range(len(histogram.categories))
        axes.bar([p - 0.2 for p in places], histogram.reference, 0.4, color=theme.CONTROL, label="reference")
        axes.bar([p + 0.2 for p in places], histogram.window, 0.4, color=theme.PRUNED, label="production")
        axes.set_xticks(list(places), histogram.categories)
    else:
        axes.stairs(histogram.reference, histogram.edges, fill=True, color=theme.CONTROL, label="reference")
        axes.stairs(histogram.window, histogram.edges, color=theme.PRUNED, linewidth=1.8, label="production")
    axes.set_ylabel("share of examples")
    axes.legend()
    theme.bare(axes)
