"""Choose cells, cut them, prove it."""

import logging
from collections.abc import Mapping, Sequence
from math import ceil, gcd, lcm
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprune.errors import PruningError
from reprune.pruning import surgery, verify
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.graph.group_names import exactly, find
from reprune.pruning.importance import Batches, Criterion, Loss, mean_normalized, score
from reprune.pruning.recipe import Recipe
from reprune.pruning.shortfall import Asked

log = logging.getLogger(__name__)

ATTEMPTS = 64
"""Cuts that `prune` tries to find which groups cannot have the widths of a ratio, before it leaves the rest whole."""


def cut(
    model: nn.Module, analysis: Analysis, keep: Mapping[str, Sequence[int]], *, inplace: bool = False
) -> tuple[nn.Module, Recipe]:
    """Cut a copy of a model, and prove the copy by running it against the zeroed dense graph.

    Args:
        model: The model that the analysis is of; it is left as it is, and so is everything when the proof fails.
        analysis: Its groups.
        keep: Group name → the cells that stay. A group that is absent stays whole.
        inplace: Prove the cut on a preview that shares the weights, then make it on the model itself, tensor by tensor:
            there is never a second model in memory.

    Returns:
        The smaller model, and the recipe that makes it from any weights of its class.

    Raises:
        PruningError: A group or cell does not exist, nothing would be left of a group, or the proof fails.
    """
    for name, cells in keep.items():
        _check_cells(analysis, name, cells)
    removed = verify.cells_of(analysis, keep)
    recipe = surgery.recipe_for(model, analysis, removed)
    if inplace:  # the preview must be gone before the cut, or what it shares would stay in memory
        verify.verify(analysis, model, surgery.preview(model, recipe), removed, analysis.example_inputs)
        return surgery.remember(surgery.shrink(model, recipe), recipe), recipe
    pruned = surgery.apply(model, recipe)
    verify.verify(analysis, model, pruned, removed, analysis.example_inputs)
    return surgery.remember(pruned, recipe), recipe


def _check_cells(analysis: Analysis, name: str, cells: Sequence[int]) -> None:
    group = exactly(analysis, name)
    wrong = [int(cell) for cell in cells if not 0 <= int(cell) < group.width]
    if wrong:
        raise PruningError(
            f"Group {name!r} has {group.width} cells; it has no cell {wrong[0]}.", "Number cells from 0."
        )
    if len(set(map(int, cells))) < len(cells):
        raise PruningError(f"keep names a cell of group {name!r} twice.", "Name each kept cell once.")
    if not len(cells):
        raise PruningError(
            f"Nothing would be left of group {name!r}.", "Keep at least one cell, or leave the group out."
        )


def prune(
    model: nn.Module,
    example_inputs: Any,
    *,
    ratio: float | None = None,
    widths: Mapping[str, int] | None = None,
    criterion: str | Criterion = "l2",
    data: Batches | None = None,
    loss: Loss = F.cross_entropy,
    global_ranking: bool = False,
    round_to: int | None = None,
    seed: int = 0,
    inplace: bool = False,
    strict: bool = False,
) -> tuple[nn.Module, Recipe]:
    """Analyze a model, score its cells, and cut the least important.

    Args:
        model: The model; it is left as it is, unless `inplace`.
        example_inputs: A tensor, a tuple of positional arguments, or a dict of keyword arguments.
        ratio: Share of cells to remove, in [0, 1): of each group, or of all groups together under `global_ranking`.
        widths: Number of cells to keep by the name of a group, or by the path of a module whose output is the group's;
            in place of a ratio. Other groups stay whole.
        criterion: A name from ``criteria.CRITERIA`` or a function.
        data: Batches of ``(input, target)``, for the criteria that need data.
        loss: ``loss(outputs, targets)``, a scalar.
        global_ranking: Rank the cells of all groups together, each group's scores divided by their mean.
        round_to: Round the channels that stay up to a multiple of this, in groups whose cells are channels. Where a
            kernel wants a multiple (`Group.step`), every width is rounded up to it.
        seed: Of the random criterion.
        inplace: Make the cut on the model itself, once it is proven, without a second model in memory. Its parameters
            stay the same objects, without gradients; the state that an optimizer keeps of them (momentum) no longer
            fits, so make a new one.
        strict: Raise if less than half of what was asked for can be cut, before anything is; by default, warn.

    Returns:
        The smaller model, which remembers its recipe for `save`; and that recipe. A group that cannot have the width
        that the ratio asks for keeps more, and is logged. If nothing, or less than half of what was asked for, can be
        cut, a `RepruneWarning` names what keeps the rest whole.

    Raises:
        PruningError: A ratio or width is impossible, a group does not exist, the proof fails, or less is cut than
            `strict` allows.
    """
    if (ratio is None) == (widths is None):
        raise PruningError("prune takes a ratio or widths, one of the two.", "Pass ratio=0.5 or widths={'layer': 96}.")
    if ratio is not None and not 0 <= ratio < 1:
        raise PruningError(f"A ratio of {ratio} is not in [0, 1).", "Pass the share of cells to remove, such as 0.5.")
    analysis = analyze(model, example_inputs)
    scores = score(model, analysis, criterion, data, loss, seed)
    if ratio is not None:
        wanted = widths_at_ratio(analysis, ratio, global_scores=scores if global_ranking else None)
    else:
        assert widths is not None
        wanted = _checked(analysis, widths)
    step = 1 if round_to is None else round_to
    kept = {name: rounded(analysis, name, width, step) for name, width in wanted.items()}
    kept = {name: width for name, width in kept.items() if width < analysis.group(name).width}
    asked = Asked(wanted, ratio, global_ranking, round_to)
    if strict:
        asked.compare(analysis, kept, {}, strict=True)
    reasons: dict[str, str] = {}
    try:
        pruned = cut(model, analysis, _best_of_each(scores, kept), inplace=inplace)
    except PruningError:
        if ratio is None:
            raise
        kept, reasons = _possible(model, analysis, scores, kept)
        if strict:
            asked.compare(analysis, kept, reasons, strict=True)
        pruned = cut(model, analysis, _best_of_each(scores, kept), inplace=inplace)
    asked.compare(analysis, kept, reasons, strict=False)
    return pruned


def _best_of_each(scores: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, list[int]]:
    return {name: best(scores[name], width) for name, width in widths.items()}


def _possible(
    model: nn.Module, analysis: Analysis, scores: Mapping[str, Tensor], kept: dict[str, int]
) -> tuple[dict[str, int], dict[str, str]]:
    """Find by halving which groups cannot have the width they were to have, and give them another or leave them whole.

    Some Python goes another way where two sizes happen to be equal: ``if self.in_width != self.out_width``.

    Returns:
        The widths that are possible, and why the others are not, by group.
    """
    attempts, reasons = 0, {}

    def problem(widths: Mapping[str, int]) -> str | None:
        nonlocal attempts
        attempts += 1
        if attempts > ATTEMPTS:
            return f"not tried, after {ATTEMPTS} cuts to find which widths are impossible"
        try:
            cut(model, analysis, _best_of_each(scores, widths))
        except PruningError as error:
            return error.message
        return None

    possible = dict(kept)
    pending = [list(kept)] if kept else []
    while pending:
        names = pending.pop()
        reason = problem({name: kept[name] for name in names})
        if reason is None:
            continue
        if len(names) > 1:
            pending += [names[: len(names) // 2], names[len(names) // 2 :]]
            continue
        (name,) = names
        group = analysis.group(name)
        wider = group.fitting(possible.pop(name) + 1)
        if wider < group.width and problem({name: wider}) is None:
            possible[name] = wider
        reasons[name] = reason
        log.warning("%s keeps %d of %d cells: %s", name, possible.get(name, group.width), group.width, reason)
    return possible, reasons


def best(scores: Tensor, width: int) -> list[int]:
    """Return the cells with the highest scores, ascending; among equals the earlier."""
    order = torch.argsort(scores, descending=True, stable=True)
    return sorted(order[:width].tolist())


def _checked(analysis: Analysis, widths: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, width in widths.items():
        group = find(analysis, name)
        if not 1 <= width <= group.width:
            raise PruningError(f"Group {name!r} cannot have {width} cells.", f"Ask for 1 to {group.width}.")
        if found.setdefault(group.name, width) != width:
            raise PruningError(
                f"widths asks for both {found[group.name]} and {width} cells of group {group.name!r}, as {name!r} too.",
                "Name each group once.",
            )
    return found


def widths_at_ratio(
    analysis: Analysis, ratio: float, *, global_scores: Mapping[str, Tensor] | None = None
) -> dict[str, int]:
    """Return the cells that each group keeps when a share of them goes.

    Args:
        analysis: The model's groups.
        ratio: Share of cells to remove, in [0, 1).
        global_scores: Rank the cells of all groups together by these, each group's divided by their mean; by default
            every group loses the same share.
    """
    if global_scores is None:
        return {group.name: max(1, group.width - int(ratio * group.width)) for group in analysis.groups}
    ranked = mean_normalized(dict(global_scores))
    if not ranked:
        return {}
    values, _ = torch.cat(list(ranked.values())).sort()
    threshold = values[min(int(ratio * len(values)), len(values) - 1)]
    return {name: max(1, int((value >= threshold).sum())) for name, value in ranked.items()}


def rounded(analysis: Analysis, name: str, width: int, multiple: int) -> int:
    """Round a number of cells up so that their channels are a multiple, where that many exist."""
    group = analysis.group(name)
    if multiple < 1:
        raise PruningError(f"round_to is {multiple}.", "Pass a positive number, such as 8.")
    worth = max(operator.out_cells.get(name, 1) for operator in analysis.operators) if analysis.operators else 1
    step = lcm(group.step, multiple // gcd(multiple, worth))
    return min(group.width, ceil(width / step) * step)
