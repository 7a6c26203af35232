"""The page of a drift decision: what moved, by how much, and what was decided."""

from functools import partial

from matplotlib.figure import Figure as Canvas

from reprune.drift.decision import Decision
from reprune.drift.verdict import DriftReport, DriftTest, Histogram
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
        sections = [_tests(report), _distributions(report)]
    return page("Drift", decision.reason, sections, badge=(decision.action, tone))


def _tests(report: DriftReport) -> Section:
    shown = report.tests[:ROWS]
    left = len(report.tests) - len(shown)
    blocks: list[Block] = [
        Table(
            ["what", "watched in", "test", "verdict", "statistic", "threshold", "shift", "PSI", "p alone", "p of all"],
            [_row(test) for test in shown],
            numeric=(4, 5, 6, 7, 8, 9),
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
        "" if test.effect is None else f"{test.effect.psi:.3f}",
        f"{test.p_value:.3g}",
        f"{test.adjusted_p_value:.3g}",
    ]


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
