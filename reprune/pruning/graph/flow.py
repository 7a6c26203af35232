"""What a rule may do to labels: unite them, freeze them, fix a dimension, and note what the cut must know later."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import fx

from reprune.pruning.graph.layout import Factor, Layout, reshaped
from reprune.pruning.graph.union_find import Couplings, Labels

Letters = Sequence[str]


@dataclass(frozen=True, eq=False)
class Reduction:
    """A node that mixes the indices of a dimension that may be cut: the oracle runs it on the kept indices alone."""

    node: str
    argument: str
    dim: int
    labels: Labels


@dataclass(frozen=True, eq=False)
class Site:
    """A size that Python computed in a module's own forward, along an axis of a grid of labels."""

    module: str
    node: str
    size: int
    grid: Labels
    axis: int


@dataclass(frozen=True, eq=False)
class Split:
    """A view that split a dimension: its indices may only go in whole rows of one axis of the grid."""

    node: str
    grid: Labels


@dataclass(frozen=True, eq=False)
class Merge:
    """A size that may be tied to the width of what the module was given, such as of a view that merges heads."""

    module: str
    labels: Labels


@dataclass(frozen=True, eq=False)
class Alignment:
    """A dimension whose size a kernel wants to be a multiple of a number."""

    labels: Labels
    multiple: int


@dataclass(frozen=True, eq=False)
class Weighing:
    """A node that multiplies by a weight, with the labels of what goes in and comes out."""

    node: fx.Node
    weight: fx.Node
    kind: str
    inputs: Labels | None
    outputs: Labels | None
    shape: tuple[int, ...]
    """``[out, in / groups, *kernel]``, whichever way the operator is given it."""
    geometry: dict[str, Any]

    @property
    def source(self) -> fx.Node:
        """The node that is multiplied by the weight: the argument before it, or the one after a leading weight."""
        sources = self.node.all_input_nodes
        place = sources.index(self.weight)
        return sources[place - 1 if place else min(1, len(sources) - 1)]


@dataclass
class Flow:
    """The state of one pass over a graph, handed to each rule."""

    couplings: Couplings = field(default_factory=Couplings)
    reductions: list[Reduction] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    given: list[Site] = field(default_factory=list)
    """Sizes that a module's forward sees in its arguments, and may compare with an attribute."""
    splits: list[Split] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    weighings: list[Weighing] = field(default_factory=list)
    alignments: list[Alignment] = field(default_factory=list)
    heads: list[Labels] = field(default_factory=list)
    constants: set[int] = field(default_factory=set)
    """Which layouts are of tensors that do not depend on the model's inputs, by `id`; set before each rule runs."""
    reads_input: bool = False
    """Whether all that the node is given, besides constants, is the model's input; set before each rule runs."""
    node: fx.Node = None  # type: ignore[assignment]  # set before each rule runs

    def reason(self, why: str) -> str:
        """Return a reason that names the operator and its place in the user's modules."""
        place = module_of(self.node)
        target = getattr(self.node.target, "name", lambda: str(self.node.target))
        return f"{target()} {why}" + (f" in {place!r}" if place else "")

    @property
    def needs_all(self) -> str:
        """The reason why a dimension that something fixed stays whole."""
        return "reads the model's input" if self.reads_input else self.reason("needs every index of a dimension")

    def freeze(self, layout: Layout, why: str) -> None:
        """Keep every live index of a tensor."""
        for factor in layout.factors:
            self.couplings.freeze(factor.grid, self.reason(why))

    def fix(self, layout: Layout, dim: int, why: str) -> Layout:
        """Make a dimension fixed: frozen when it stands alone; in rows that go whole when it is one axis of a split."""
        factor = layout.factor(dim)
        uniform = layout.uniform - {dim}
        if factor is None:
            return Layout(layout.shape, layout.factors, uniform)
        return Layout(
            layout.shape, _kept(*(self._fix(f, dim, why) if f is factor else f for f in layout.factors)), uniform
        )

    def fix_all(self, layout: Layout, dims: Sequence[int], why: str) -> Layout:
        """Make several dimensions fixed."""
        for dim in dims:
            layout = self.fix(layout, dim, why)
        return layout

    def _fix(self, factor: Factor, dim: int, why: str) -> Factor | None:
        if len(factor.dims) == 1:
            self.couplings.freeze(factor.grid, self.reason(why))
        else:
            self.couplings.unite_along(factor.grid, factor.axis(dim))
        return factor.without(dim)

    def alone(self, layout: Layout, dim: int) -> Layout:
        """Return the layout with a dimension covered by a factor of its own, if it is live at all."""
        factor = layout.factor(dim)
        for other in factor.dims if factor else ():
            if other != dim:
                layout = self.fix(layout, other, "needs whole rows")
        return layout

    def normalized(self, layout: Layout) -> Layout:
        """Freeze what is down to one index, and resolve dimensions that two factors cover."""
        for factor in layout.factors:
            for dim in factor.dims:
                if layout.shape[dim] == 1:
                    layout = self.fix(layout, dim, "leaves one index")
        covered = [dim for factor in layout.factors for dim in factor.dims]
        clashing = {dim for dim in covered if covered.count(dim) > 1}
        for factor in layout.factors:
            if clashing & set(factor.dims):
                self.couplings.freeze(factor.grid, self.reason("merges two prunable dimensions"))
        return Layout(layout.shape, tuple(f for f in layout.factors if not clashing & set(f.dims)), layout.uniform)

    def reshape(self, layout: Layout, shape: Sequence[int]) -> Layout:
        """Carry a layout through a view, and note the splits and the sizes that Python must get right again."""
        result = self.normalized(reshaped(layout, shape))
        for factor in result.factors:
            if len(factor.dims) > 1 and not any(factor.grid is known.grid for known in layout.factors):
                self.splits.append(Split(self.node.name, factor.grid))
            for axis in range(len(factor.dims)):
                self.note_size(factor.grid, axis)
            if len(factor.dims) == 1:
                self.merges.append(Merge(module_of(self.node), factor.grid))
        return result

    def note_size(self, grid: Labels, axis: int, size: int | None = None) -> None:
        """Note that the module's Python computes `size` (by default the length of the axis) in step with the labels."""
        size = grid.shape[axis] if size is None else size
        self.sites.append(Site(module_of(self.node), self.node.name, size, grid, axis))

    def note_reduction(self, argument: str, layout: Layout, dim: int) -> None:
        """Note that the node mixes the indices of a dimension."""
        labels = layout.labels(dim)
        if labels is not None:
            self.reductions.append(Reduction(self.node.name, argument, dim, labels))

    def note_heads(self, layout: Layout) -> None:
        """Note what attention takes apart into heads: a dimension that a view split, or the one before the last two."""
        rank = len(layout.shape)
        self.heads += [f.grid for f in layout.factors if len(f.dims) > 1 or f.dims == (rank - 3,)]

    def couple(self, *operands: tuple[Layout, Letters]) -> "Coupling":
        """Make dimensions of the same letter alike, element by element, as an einsum or broadcasting needs them."""
        return Coupling(self, operands)


class Coupling:
    """The factors of several tensors over shared letters, united."""

    def __init__(self, flow: Flow, operands: Sequence[tuple[Layout, Letters]]) -> None:
        self.flow = flow
        operands = self._yielding(operands)
        self.sizes: dict[str, int] = {}
        for layout, letters in operands:
            for size, letter in zip(layout.shape, letters, strict=True):
                self.sizes[letter] = max(size, self.sizes.get(letter, 1))
        self.fixed: set[str] = set()
        live: set[str] = set()
        factors: list[tuple[tuple[str, ...], Labels]] = []
        for layout, letters in operands:
            for dim, letter in enumerate(letters):
                if layout.is_fixed(dim):
                    self.fixed.add(letter)
                elif layout.factor(dim) is not None:
                    live.add(letter)
            factors += [(tuple(letters[d] for d in f.dims), f.grid) for f in layout.factors]
        self.uniform = set(self.sizes) - live - self.fixed
        self.factors = self._merged(factors)

    def _yielding(self, operands: Sequence[tuple[Layout, Letters]]) -> list[tuple[Layout, Letters]]:
        """Let constants give way to split activations: a scale of ``[head_dim]`` stays whole, and whole heads go."""
        inner = {
            letters[dim]
            for layout, letters in operands
            if id(layout) not in self.flow.constants
            for factor in layout.factors
            for dim in factor.dims[1:]
        }
        result = []
        for layout, letters in operands:
            for dim, letter in enumerate(letters if id(layout) in self.flow.constants else ()):
                if letter in inner and layout.factor(dim) is not None:
                    layout = self.flow.fix(layout, dim, "scales each head alike")
            result.append((layout, letters))
        return result

    def _merged(self, factors: list[tuple[tuple[str, ...], Labels]]) -> list[tuple[tuple[str, ...], Labels]]:
        done: list[tuple[tuple[str, ...], Labels]] = []
        while factors:
            letters, grid = factors.pop()
            letters, grid = self._fix(letters, grid, self.fixed)
            if not letters:
                continue
            clash = next((each for each in done if set(each[0]) & set(letters)), None)
            if clash is None:
                done.append((letters, grid))
                continue
            done.remove(clash)
            common = set(letters) & set(clash[0])
            lonely = (set(letters) | set(clash[0])) - common
            self.fixed |= lonely
            left, mine = self._fix(clash[0], clash[1], lonely)
            _, yours = self._fix(letters, grid, lonely)
            aligned = np.transpose(yours, [tuple(x for x in letters if x in common).index(x) for x in left])
            self.flow.couplings.unite(mine, aligned)
            factors += [(left, mine), *done]  # what was fixed just now may concern those already done
            done = []
        return done

    def _fix(self, letters: tuple[str, ...], grid: Labels, fixed: set[str]) -> tuple[tuple[str, ...], Labels]:
        for letter in [x for x in letters if x in fixed]:
            axis = letters.index(letter)
            if len(letters) == 1:
                self.flow.couplings.freeze(grid, self.flow.needs_all)
            else:
                self.flow.couplings.unite_along(grid, axis)
            grid = np.take(grid, 0, axis=axis)
            letters = letters[:axis] + letters[axis + 1 :]
        return letters, grid

    def labels(self, letter: str) -> Labels | None:
        """Return the labels of a letter that stands alone."""
        return next((grid for letters, grid in self.factors if letters == (letter,)), None)

    def result(self, letters: Letters, shape: Sequence[int]) -> Layout:
        """Return the layout of a result over some of the letters; the others are contracted."""
        factors = []
        for own, grid in self.factors:
            contracted = {x for x in own if x not in letters}
            if contracted == set(own):
                continue
            left, grid = self._fix(own, grid, contracted)
            factors.append(Factor.over([letters.index(x) for x in left], grid))
        uniform = {d for d, letter in enumerate(letters) if letter in self.uniform and shape[d] > 1}
        return Layout(tuple(shape), tuple(factors), frozenset(uniform))


def _kept(*factors: Factor | None) -> tuple[Factor, ...]:
    return tuple(factor for factor in factors if factor is not None)


def module_of(node: fx.Node) -> str:
    """Return the path of the module whose own Python called this operator; empty for the root."""
    stack = node.meta.get("nn_module_stack") or {}
    return next((str(path) for path, _ in reversed(list(stack.values()))), "")
