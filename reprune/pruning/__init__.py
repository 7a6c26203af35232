"""Pruning of any ``torch.nn.Module``: coupled slices found on its exported graph, cut, and proven by running it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reprune.pruning.batchnorm import reestimate
    from reprune.pruning.criteria import score
    from reprune.pruning.graph import analyze
    from reprune.pruning.groups import Analysis, Frozen, Group, Member, Operator
    from reprune.pruning.recipe import Recipe
    from reprune.pruning.selection import cut, prune
    from reprune.pruning.surgery import replay

_HOMES = {
    "analyze": "graph",
    "cut": "selection",
    "prune": "selection",
    "reestimate": "batchnorm",
    "replay": "surgery",
    "score": "criteria",
    "Recipe": "recipe",
    **dict.fromkeys(("Analysis", "Frozen", "Group", "Member", "Operator"), "groups"),
}

__all__ = [
    "Analysis",
    "Frozen",
    "Group",
    "Member",
    "Operator",
    "Recipe",
    "analyze",
    "cut",
    "prune",
    "reestimate",
    "replay",
    "score",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
