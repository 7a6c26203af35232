"""An analysis as a person reads it in a terminal or a notebook."""

from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.counts import counts

MOST_GROUPS, MOST_FROZEN = 40, 12


def table(analysis: Analysis) -> str:
    """Return the groups of a model and what stays whole, as aligned text; of very many, the first."""
    cost = counts(analysis)
    rows = [
        (
            group.name,
            group.kind,
            f"{group.width:,}",
            str(len({member.tensor for member in group.members})),
            f"{cost.parameters_of[group.name]:.1%}",
            f"{cost.macs_of[group.name]:.1%}",
        )
        for group in analysis.groups[:MOST_GROUPS]
    ]
    rows.insert(0, ("group", "kind", "width", "tensors", "parameters", "MACs"))
    sizes = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"{len(analysis.groups)} groups in {cost.parameters:,} parameters, {amount(cost.macs)} MACs"]
    lines += [
        "  ".join(_aligned(cell, size, i) for i, (cell, size) in enumerate(zip(row, sizes, strict=True)))
        for row in rows
    ]
    lines += _more(len(analysis.groups), MOST_GROUPS, "groups")
    if analysis.frozen:
        lines.append(f"left whole: {len(analysis.frozen)}")
        lines += [f"  {each}" for each in analysis.frozen[:MOST_FROZEN]]
        lines += _more(len(analysis.frozen), MOST_FROZEN, "frozen")
    return "\n".join(line.rstrip() for line in lines)


def _aligned(cell: str, size: int, column: int) -> str:
    return cell.ljust(size) if column < 2 else cell.rjust(size)


def _more(count: int, shown: int, name: str) -> list[str]:
    return [f"  … and {count - shown} more in .{name}"] if count > shown else []


def amount(number: int) -> str:
    """Return a count as people read it: ``41.2 M``."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number < 1000 * size else f"{number / size:.0f} {unit}"
    return str(number)
