"""How alike two cuts of one architecture are: which of the cells that one keeps the other keeps too."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from reprune.pruning.graph.analysis import Analysis, Group
from reprune.pruning.recipe import Recipe


class Overlap(BaseModel):
    """Jaccard index of the cells kept: those that both keep, as a share of those that either keeps.

    Attributes:
        groups: By group that is cut.
        overall: Over all of them.
        chance: What picking cells at random would give at these widths, overall, to first order.
    """

    model_config = ConfigDict(frozen=True)

    groups: dict[str, float]
    overall: float
    chance: float


def kept_cells(recipe: Recipe, analysis: Analysis) -> dict[str, list[int]]:
    """Return the cells of each group that a recipe keeps.

    Args:
        recipe: A cut of the model.
        analysis: Of the dense model.
    """
    return {group.name: _kept(recipe, group) for group in analysis.groups}


def overlap(one: Mapping[str, Sequence[int]], other: Mapping[str, Sequence[int]], analysis: Analysis) -> Overlap:
    """Compare two choices of cells, over the groups that either of them cuts.

    Args:
        one: Cells kept by group.
        other: Likewise.
        analysis: Of the dense model.
    """
    groups, both, either, expected = {}, 0, 0, 0.0
    for group in analysis.groups:
        mine, yours = set(one[group.name]), set(other[group.name])
        if len(mine) == len(yours) == group.width:
            continue
        groups[group.name] = len(mine & yours) / len(mine | yours)
        both, either = both + len(mine & yours), either + len(mine | yours)
        expected += len(mine) * len(yours) / group.width
    total = both + either  # cells that either choice keeps, each choice counted
    return Overlap(
        groups=groups,
        overall=both / either if either else 1.0,
        chance=expected / (total - expected) if total > expected else 1.0,
    )


def _kept(recipe: Recipe, group: Group) -> list[int]:
    for member in group.members:
        for cut in recipe.slices.get(member.tensor, ()):
            if cut.dim == member.dim:
                there = set(cut.kept)
                return [cell for cell, indices in enumerate(member.cells) if there.issuperset(indices)]
    return list(range(group.width))
