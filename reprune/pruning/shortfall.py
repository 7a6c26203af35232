"""Compare the cut that was asked for with the one that was reached, and name what held it back."""

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from reprune import formatting
from reprune.errors import PruningError, RepruneWarning
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.counts import counts

ENOUGH = 0.5
"""A request is missed if less than this share of it was reached."""

MOST_CAUSES = 5
INTERFACE = ("reads the model's input", "reaches the model's output")
"""Why the first and last dimensions stay whole, which no request means to cut."""

_IN_MODULE = re.compile(r"^(?P<what>.+) in '(?P<module>[^']*)'$")


def missed(asked: float, reached: float) -> bool:
    """Return whether a request was missed: nothing of it was reached, or less than half."""
    return asked > 0 and reached < ENOUGH * asked


@dataclass(frozen=True)
class Asked:
    """A request to prune a model, to be compared with what it can have.

    Attributes:
        widths: Cells that each group was to keep.
        ratio: The share of cells to remove that they come from, if they do.
        ranked: Whether the cells of all groups were ranked together.
        round_to: The multiple that channels were rounded up to.
    """

    widths: Mapping[str, int]
    ratio: float | None
    ranked: bool
    round_to: int | None

    def compare(self, analysis: Analysis, kept: Mapping[str, int], failed: Mapping[str, str], *, strict: bool) -> None:
        """Warn, or raise if `strict`, if less than half of the request is reached.

        Args:
            analysis: The model's groups.
            kept: Cells that remain of each group that loses some.
            failed: Groups that failed at their width in a trial, each with the reason.
            strict: Whether to raise.

        Raises:
            PruningError: Less is reached, and `strict`.
        """
        if self.ratio is None:
            asked, found = float(removed_cells(analysis, self.widths)), float(removed_cells(analysis, kept))
            said = f"remove {asked:.0f} cells of {formatting.count(len(self.widths), 'group')}, and removes {found:.0f}"
        elif self.ranked:
            asked, found = self.ratio, ranked_share(analysis, kept)
            said = f"remove {asked:.1%} of all cells, and removes {found:.1%} with those that stay whole counted in"
        else:
            asked, found = self.ratio, removed_share(analysis, kept)
            said = f"remove {asked:.1%} of every group's cells, and removes {found:.1%} of the parameters"
        if missed(asked, found):
            why = held_back(analysis, self._narrow(analysis, kept, failed))
            remedy = "See reprune.analyze(model, example_inputs).whole for what stays whole, or ask for less."
            enforce(f"prune was asked to {said}. It was held back by: {why}.", remedy, strict=strict)

    def _narrow(self, analysis: Analysis, kept: Mapping[str, int], failed: Mapping[str, str]) -> list[str]:
        """Return what keeps groups whole that could be cut."""
        said = [f"{formatting.count(len(failed), 'group')} failed at the width: {r}" for r in list(failed.values())[:1]]
        whole = [group for group in analysis.groups if group.name not in kept and group.name not in failed]
        few = [group for group in whole if self.widths.get(group.name) == group.width]
        if few and self.ratio and not self.ranked:
            said.append(f"{formatting.count(len(few), 'group')} with too few cells to lose one at this ratio")
        if up := [group for group in whole if self.widths.get(group.name, group.width) < group.width]:
            multiple = f"round_to={self.round_to}" if self.round_to else "the multiple that a kernel needs"
            said.append(f"{multiple}, which keeps {formatting.count(len(up), 'group')} whole")
        return said


def enforce(message: str, remedy: str, *, strict: bool) -> None:
    """Warn of a request that was missed, or raise if `strict`.

    The warning belongs to the function of reprune that was called, so that a filter on the module `reprune` takes it.

    Raises:
        PruningError: It is `strict`.
    """
    if strict:
        raise PruningError(message, remedy)
    warnings.warn(RepruneWarning(message, f"{remedy} strict=True makes this an error."), stacklevel=3)


def removed_share(analysis: Analysis, widths: Mapping[str, int]) -> float:
    """Return the share of a model's parameters that go when groups keep the given numbers of cells."""
    left: dict[str, dict[int, float]] = {name: dict(enumerate(analysis.shapes[name])) for name in analysis.parameters}
    for group in analysis.groups:
        gone = 1 - widths.get(group.name, group.width) / group.width
        for member in group.members:
            if member.tensor in left:
                left[member.tensor][member.dim] -= gone * sum(map(len, member.cells))
    total = sum(prod(analysis.shapes[name]) for name in analysis.parameters)
    return 1 - sum(prod(sizes.values()) for sizes in left.values()) / total if total else 0.0


def removed_cells(analysis: Analysis, widths: Mapping[str, int]) -> int:
    """Return the number of cells that go when groups keep the given numbers of cells."""
    return sum(group.width - widths.get(group.name, group.width) for group in analysis.groups)


def ranked_share(analysis: Analysis, widths: Mapping[str, int]) -> float:
    """Return the share of cells that go, cells that belong to no group counted by their share of the parameters."""
    cells = sum(group.width for group in analysis.groups)
    return counts(analysis).prunable * removed_cells(analysis, widths) / cells if cells else 0.0


def shortfall(analysis: Analysis, wanted: Mapping[str, int], kept: Mapping[str, int]) -> str:
    """Return in words that less than half of the planned cells went, and what holds the rest back; else nothing.

    Args:
        analysis: Of the dense model.
        wanted: Cells that each group was to keep.
        kept: Cells that each group keeps.
    """
    asked, found = removed_cells(analysis, wanted), removed_cells(analysis, kept)
    if not missed(asked, found):
        return ""
    return f"{found:,} of the {asked:,} planned cells were removed. Dimensions that stay whole: {held_back(analysis)}"


def held_back(analysis: Analysis, more: Iterable[str] = ()) -> str:
    """Return what keeps dimensions of a model whole, in words: operators and modules, those of most parameters first.

    Args:
        analysis: Of the model.
        more: What else held a cut back, in words.
    """
    more = list(more)
    total = sum(prod(analysis.shapes[name]) for name in analysis.parameters)
    whole = {reason: names for reason, names in analysis.whole.items() if reason not in INTERFACE}
    causes: dict[str, _Cause] = {}
    for reason, names in (whole or ({} if more else analysis.whole)).items():
        found = _IN_MODULE.match(reason)
        cause = causes.setdefault(found["what"] if found else reason, _Cause())
        cause.modules += [found["module"]] if found else []
        cause.dimensions += names

    def share(cause: _Cause) -> float:
        tensors = {name.partition("[")[0] for name in cause.dimensions} & analysis.parameters
        return sum(prod(analysis.shapes[name]) for name in tensors) / max(total, 1)

    ordered = sorted(causes.items(), key=lambda it: -share(it[1]))
    said = [
        f"{reason}{cause.places()}, {share(cause):.0%} of the parameters)" for reason, cause in ordered[:MOST_CAUSES]
    ]
    said += [f"{formatting.count(len(ordered) - MOST_CAUSES, 'more reason')}"] if len(ordered) > MOST_CAUSES else []
    return "; ".join([*more, *said]) or "no dimension of any parameter may go"


@dataclass
class _Cause:
    """The modules in which a reason keeps dimensions whole, and those dimensions."""

    modules: list[str] = field(default_factory=list)
    dimensions: list[str] = field(default_factory=list)

    def places(self) -> str:
        shown, rest = ", ".join(f"'{module}'" for module in self.modules[:3]), len(self.modules) - 3
        where = (f" in {shown}" if shown else "") + (
            f" and {formatting.count(rest, 'more module')}" if rest > 0 else ""
        )
        return f"{where} ({formatting.count(len(self.dimensions), 'dimension')} such as {self.dimensions[0]}"
