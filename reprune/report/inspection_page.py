"""The page of an inspection: what of a model can be cut, what is coupled with what, and what stays whole and why."""

from reprune import formatting
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.counts import Counts, counts
from reprune.pruning.summary_table import amount
from reprune.report.html import Note, Section, Table, Tile, Tiles, page
from reprune.report.plots import coupling

NAMES = 6
"""Dimensions that are named for one reason; the others are counted."""


def render(name: str, analysis: Analysis, inputs: str) -> str:
    """Return the page.

    Args:
        name: What was inspected.
        analysis: Of it.
        inputs: The example inputs, in words.
    """
    cost = counts(analysis)
    figures = [Section("Widths and couplings", [coupling.network(analysis)])] if analysis.operators else []
    sections = [Section("At a glance", [_tiles(analysis, cost)]), *figures, _groups(analysis, cost), _whole(analysis)]
    return page(name, f"What can be cut, on {inputs}", sections)


def _tiles(analysis: Analysis, cost: Counts) -> Tiles:
    return Tiles(
        [
            Tile("groups", f"{len(analysis.groups):,}", f"{sum(group.width for group in analysis.groups):,} cells"),
            Tile("can be cut", formatting.percent(cost.prunable), "of the parameters lie in some group"),
            Tile("parameters", amount(cost.parameters), f"{cost.parameters:,}"),
            Tile("multiply-accumulates", amount(cost.macs), "on these inputs, batch included"),
        ]
    )


def _groups(analysis: Analysis, cost: Counts) -> Section:
    rows = [
        (
            group.name,
            group.kind,
            f"{group.width:,}",
            str(len({member.tensor for member in group.members})),
            formatting.percent(cost.parameters_of[group.name]),
            formatting.percent(cost.macs_of[group.name]),
        )
        for group in analysis.groups
    ]
    if not rows:
        return Section("Groups", [Note("Nothing of this model can be cut.", "warn")])
    headings = ("group", "kind", "width", "tensors", "parameters", "MACs")
    lead = (
        "Slices of tensors that live and die together, named after the module that makes them. Shares are what "
        "lies in the slices: a weight's rows are of one group and its columns of another, so they add up to more than "
        "100 %."
    )
    return Section("Groups", [Table(headings, rows, numeric=(2, 3, 4, 5))], lead=lead)


def _whole(analysis: Analysis) -> Section:
    if not analysis.whole:
        return Section("Left whole", [Note("Nothing.", "good")])
    rows = [(reason, str(len(names)), _named(names)) for reason, names in analysis.whole.items()]
    lead = "What reaches an output, what the inputs fix, and what could not be proven safe to cut."
    return Section("Left whole", [Table(("why", "dimensions", "which"), rows, numeric=(1,))], lead=lead)


def _named(names: list[str]) -> str:
    rest = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {rest} more" if rest > 0 else "")
