"""The table from operator to rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.layout import Layout

Outcome = Layout | list[Any] | None


@dataclass(frozen=True)
class Call:
    """One operator call: arguments by their schema's names, layouts in place of tensors, and the result's shape."""

    node: fx.Node
    arguments: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str) -> Any:
        """Return an argument, or None where the operator has none of that name."""
        return self.arguments.get(name)

    def layout(self, name: str) -> Layout:
        """Return the layout of a tensor argument."""
        value = self.arguments[name]
        assert isinstance(value, Layout), f"{self.node.name}: {name} is no tensor"
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return tuple(int(size) for size in self.node.meta["val"].shape)

    @property
    def shapes(self) -> list[tuple[int, ...] | None]:
        """The shapes of the results, None where one is no tensor."""
        values = self.node.meta["val"]
        return [tuple(int(n) for n in v.shape) if isinstance(v, torch.Tensor) else None for v in values]

    def tensors(self) -> list[tuple[str, Layout]]:
        """Return every tensor argument with its name."""
        found = []
        for name, value in self.arguments.items():
            members: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
            found += [(name, each) for each in members if isinstance(each, Layout)]
        return found


Rule = Callable[[Flow, Call], Outcome]
RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of ATen operators, named without overload: ``rule("conv2d", "conv3d")``."""

    def register(function: Rule) -> Rule:
        for operator in operators:
            assert operator not in RULES, f"{operator} has two rules"
            RULES[operator] = function
        return function

    return register


def dimension(dim: int, rank: int) -> int:
    """Return a dimension counted from the front."""
    return dim + rank if dim < 0 else dim


def dimensions(dims: Any, rank: int) -> list[int]:
    """Return the dimensions an argument names, all of them for None or an empty list."""
    if dims is None or dims == []:
        return list(range(rank))
    return sorted(dimension(d, rank) for d in ([dims] if isinstance(dims, int) else dims))
