"""What an analysis finds: groups of coupled slices, what stays whole and why, and the operators that do the work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from reprune.pruning.graph.capture import Capture
from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.union_find import Labels

Edit = tuple[str, str]
"""Path of a module and name of one of its attributes."""


Reading = Literal["last", "first", "given", "never"]


@dataclass(frozen=True)
class Member:
    """One dimension of one tensor that loses indices with a group."""

    tensor: str
    """Name of a parameter or buffer."""
    dim: int
    cells: tuple[tuple[int, ...], ...]
    """For each cell of the group, the indices of the dimension that go with it."""
    role: str
    """``producer`` (zeroing it zeroes the slice), ``consumer`` (reads the slice), or ``state`` (running statistics)."""

    @property
    def parameter(self) -> str:
        """The tensor's name."""
        return self.tensor

    @cached_property
    def indices(self) -> Labels:
        """The same as an array, shape ``[cells, indices of each]``."""
        return np.array(self.cells, dtype=np.int64)

    def __repr__(self) -> str:
        return f"Member({self.tensor}[{self.dim}], {self.role})"


@dataclass(frozen=True)
class Group:
    """Slices of tensors that live and die together, cell by cell."""

    name: str
    """The module path of the first producer."""
    kind: str
    """``channel``, ``neuron``, ``head``, ``kv-head``, or ``embedding``."""
    width: int
    """Number of cells."""
    members: tuple[Member, ...]
    step: int = 1
    """The cells that stay come in multiples of this, because a kernel asks for it."""

    def fitting(self, width: int) -> int:
        """Return the least width from this one on that the group can have."""
        return min(self.width, -(-max(width, 1) // self.step) * self.step)

    @property
    def producers(self) -> tuple[Member, ...]:
        """The members whose zeroing zeroes the slice."""
        return tuple(member for member in self.members if member.role == "producer")

    def __repr__(self) -> str:
        touched = ", ".join(f"{member.tensor}[{member.dim}]" for member in self.members)
        return f"Group({self.name!r}, {self.kind}, width {self.width}: {touched})"


@dataclass(frozen=True)
class Frozen:
    """A dimension of a parameter that stays whole."""

    what: str
    """Name of the parameter and its dimension: ``fc.weight[0]``."""
    reason: str
    """Why, naming the operator."""

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True)
class Operator:
    """A node of the graph that multiplies by a weight, in execution order."""

    name: str
    """Name of the weight; two nodes may share one."""
    node: str
    """Name of the node in the exported graph."""
    kind: str
    """``conv``, ``conv_transpose``, ``linear`` or ``matmul``."""
    weight_shape: tuple[int, ...]
    """``[out, in / groups, *kernel]``, whichever way the operator is given its weight."""
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    in_cells: dict[str, int] = field(default_factory=dict)
    """Group → how many input channels or features one of its cells is worth."""
    out_cells: dict[str, int] = field(default_factory=dict)
    """Group → how many output channels or features one of its cells is worth."""
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] | str = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    @property
    def in_group(self) -> str | None:
        """The one group that the input's channels belong to, if it is one."""
        return next(iter(self.in_cells)) if len(self.in_cells) == 1 else None

    @property
    def out_group(self) -> str | None:
        """The one group that the output's channels belong to, if it is one."""
        return next(iter(self.out_cells)) if len(self.out_cells) == 1 else None


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result of analyzing a model on example inputs."""

    groups: tuple[Group, ...]
    frozen: tuple[Frozen, ...]
    operators: tuple[Operator, ...]
    capture: Capture = field(repr=False)
    flow: Flow = field(repr=False)
    example_inputs: Any = field(repr=False)
    cells: Labels = field(repr=False)
    """For each label, its cell's number over all groups, or -1: shape ``[labels]``."""
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    """The shape of every parameter and buffer of the model."""
    parameters: frozenset[str] = field(default=frozenset(), repr=False)
    """Which of them are parameters."""
    readings: Mapping[Edit, Reading] = field(default_factory=dict, repr=False)
    """Which of the sizes of its own value an attribute stands for, where not the last computed."""

    def __repr__(self) -> str:
        from reprune.pruning.summary_table import table

        return table(self)

    @property
    def whole(self) -> dict[str, list[str]]:
        """What stays whole by the reason why."""
        found: dict[str, list[str]] = {}
        for each in self.frozen:
            found.setdefault(each.reason, []).append(each.what)
        return found

    def group(self, name: str) -> Group:
        """Return a group by name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Group]:
        return {group.name: group for group in self.groups}

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each group's cells begin in the numbering over all groups."""
        starts = np.cumsum([0, *(group.width for group in self.groups)])
        return {group.name: int(start) for group, start in zip(self.groups, starts, strict=False)}
