"""What widths cost: an analysis and latency tables turned into a problem for the planner."""

import copy
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from reprune.inference.latency.latency_table import Axis
from reprune.inference.latency.operators import Operator, OperatorShape, example_batch
from reprune.planning.loss_penalty import charges
from reprune.planning.problem import Cost, Problem
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning.graph.analysis import Analysis

FLOAT_BYTES = 4
MOST_WIDTHS = 16
"""Candidate widths of one group."""

SAVING = 0.01
"""A narrower width is a candidate only when it saves this share of its group's latency against every wider one."""

PART_BLOCKS = (4, 8)
"""Widths below one block for which kernels have paths of their own."""

SLIGHT = 0.05
"""Operators that have no more than this share of their group's latency together have no say in which widths are
candidates."""

WIDEST_COUPLING = 3
"""Groups whose joint widths are tabulated for one operator; what more of them feed it (concatenations) is added up."""


class CoupledOperator(Operator, Protocol):
    """An operator that knows which groups its channels belong to."""

    @property
    def in_cells(self) -> Mapping[str, int]:
        """By group, how many input channels one of its cells is worth."""

    @property
    def out_cells(self) -> Mapping[str, int]:
        """By group, how many output channels one of its cells is worth."""


class CostTable(Protocol):
    """What operators cost by their widths: a `LatencyTable`, or a count in its place."""

    def latency(self, shape: OperatorShape, in_width: int, out_width: int) -> float:
        """Return what one operator costs, in seconds."""

    def axes(self, shape: OperatorShape) -> tuple[Axis, Axis]:
        """Return how an operator's input and output widths behave."""


class Prices:
    """Latencies and bytes of a model's operators at any widths of its groups.

    Args:
        analysis: Groups and operators.
        tables: One latency table for each target.
    """

    def __init__(self, analysis: Analysis, tables: Sequence[CostTable]) -> None:
        self._dense = {group.name: group.width for group in analysis.groups}
        modelled: list[CoupledOperator] = [op for op in analysis.operators if OperatorShape.models(op)]
        examples = example_batch(modelled)
        self._operators = [(op, OperatorShape.of(op, examples)) for op in modelled]
        first: dict[str, CoupledOperator] = {}
        for op in modelled:
            first.setdefault(op.name, op)
        self._weighed = {id(op) for op in first.values()}  # a weight that several operators share is stored once
        self._tables = tables
        self._kind = {group.name: group.kind for group in analysis.groups}
        self.kinds = tuple(sorted(set(self._kind.values())))
        """Kinds of groups, whose activations differ in what is done with them."""
        self._elements = dict.fromkeys(self._dense, 0)
        for op, shape in self._operators:
            for name, cells in op.out_cells.items():
                self._elements[name] += cells * shape.rows * math.prod(shape.output_spatial())
        self._rates = np.zeros((len(tables), len(self.kinds)))

    @property
    def dense(self) -> dict[str, int]:
        """Return the dense widths by group."""
        return dict(self._dense)

    def of_kind(self, kind: str) -> list[str]:
        """Return the groups of a kind."""
        return [name for name, its_kind in self._kind.items() if its_kind == kind]

    def at_rates(self, rates: np.ndarray) -> "Prices":
        """Return prices in which activations cost something too.

        Args:
            rates: Seconds for each element of the activations of each kind, ``[targets, kinds]``.
        """
        found = copy.copy(self)
        found._rates = rates
        return found

    def elements(self, widths: Mapping[str, int]) -> np.ndarray:
        """Return the elements that operators write to groups of each kind, for one example, ``[kinds]``."""
        now = self._dense | dict(widths)
        return np.array(
            [sum(self._elements[n] * now[n] for n, k in self._kind.items() if k == kind) for kind in self.kinds]
        )

    def latencies(self, widths: Mapping[str, int]) -> np.ndarray:
        """Return the sum of operators' latencies, and of activations', for each target, in seconds, ``[targets]``."""
        now = self._dense | dict(widths)
        total = np.asarray(self._rates @ self.elements(now), dtype=float)
        for operator, shape in self._operators:
            total += self._latency(operator, shape, now)
        return total

    def removed_bytes(self, widths: Mapping[str, int]) -> float:
        """Return the bytes of weights that go when groups narrow from dense to the given widths."""
        return self.weight_bytes({}) - self.weight_bytes(widths)

    def weight_bytes(self, widths: Mapping[str, int]) -> float:
        """Return the bytes of the operators' weights and biases at some widths."""
        now = self._dense | dict(widths)
        return float(sum(self._bytes(operator, now) for operator, _ in self._operators))

    def problem(self, sensitivity: Sensitivity, candidates: Mapping[str, Sequence[int]]) -> Problem:
        """Return the planner's problem.

        Its budgets are the sum of operator and activation latencies on each target, in seconds, and the bytes of the
        operators' weights, in this order.
        """
        names = tuple(candidates)
        widths = tuple(tuple(candidates[name]) for name in names)
        charged = tuple(charges(sensitivity.losses(name, its), its) for name, its in zip(names, widths, strict=True))
        costs = [cost for operator, shape in self._operators for cost in self._costs(operator, shape, names, widths)]
        if self._rates.any():
            costs += [Cost((g,), self._activations(name, widths[g])) for g, name in enumerate(names)]
        return Problem(names, widths, charged, tuple(costs))

    def candidates(self, *, least: int = 1) -> dict[str, list[int]]:
        """Return widths worth considering for each group, ascending, the dense one included.

        They are multiples of the kernels' blocks, and only those that are clearly cheaper than every wider one while
        the other groups are dense: a width that costs as much as a wider one is never a good choice.

        Args:
            least: Cells that every group keeps.
        """
        return {name: self._worthwhile(name, least) for name in self._dense}

    def _worthwhile(self, name: str, least: int) -> list[int]:
        dense = self._dense[name]
        touching = [it for it in self._operators if name in it[0].in_cells or name in it[0].out_cells]
        kept, cheapest = [dense], self._alone(touching, {})
        for width in sorted(self._steps(name, touching, least), reverse=True):
            price = self._alone(touching, {name: width})
            if price < (1 - SAVING) * cheapest:
                kept.append(width)
                cheapest = price
        while len(kept) > MOST_WIDTHS:  # thin out where two neighbours are closest, but keep the ends
            gaps = [kept[i - 1] / kept[i + 1] for i in range(1, len(kept) - 1)]
            del kept[1 + int(np.argmin(gaps))]
        return kept[::-1]

    def _steps(self, name: str, touching: list[tuple[CoupledOperator, OperatorShape]], least: int) -> set[int]:
        """Return the widths at which the channels of operators that matter fill whole blocks, or a part of one."""
        block, dense = self._block(name, touching), self._dense[name]
        below = {width for width in PART_BLOCKS if width < block}
        steps = set(range(block, dense, block)) | below
        return {width for width in steps if least <= width < dense} or set(range(least, dense))

    def _block(self, name: str, touching: list[tuple[CoupledOperator, OperatorShape]]) -> int:
        """Return the largest block, in cells, that operators with more than a slight share of the latency have."""
        latency: dict[int, float] = {}
        for operator, shape in touching:
            block = max((-(-axis.block // cells) for axis, cells in self._axes(operator, shape, name)), default=1)
            latency[block] = latency.get(block, 0.0) + float(self._latency(operator, shape, self._dense).sum())
        taken, enough = 0.0, SLIGHT * sum(latency.values())
        for block in sorted(latency, reverse=True):
            taken += latency[block]
            if taken > enough:
                return block
        return 1

    def _axes(self, operator: CoupledOperator, shape: OperatorShape, name: str) -> Iterable[tuple[Axis, int]]:
        for table in self._tables:
            inputs, outputs = table.axes(shape)
            if name in operator.in_cells:
                yield inputs, operator.in_cells[name]
            if name in operator.out_cells:
                yield outputs, operator.out_cells[name]

    def _alone(self, operators: list[tuple[CoupledOperator, OperatorShape]], widths: Mapping[str, int]) -> float:
        """Return the summed latency over targets, each as a share of its dense sum."""
        now = self._dense | dict(widths)
        whole = self.latencies({})
        activations = sum(self._activations(name, [width])[0, :-1] for name, width in widths.items())
        return float(sum((self._latency(op, shape, now) / whole).sum() for op, shape in operators)) + float(
            np.sum(activations / whole)
        )

    def _latency(self, operator: CoupledOperator, shape: OperatorShape, widths: Mapping[str, int]) -> np.ndarray:
        i, o = _channels(operator, self._dense, widths)
        return np.array([table.latency(shape, i, o) for table in self._tables])

    def _bytes(self, operator: CoupledOperator, widths: Mapping[str, int]) -> float:
        """Return the bytes of an operator's weight and bias at some widths."""
        if id(operator) not in self._weighed:
            return 0.0
        i, o = _channels(operator, self._dense, widths)
        share = 1 if _depthwise(operator) else i / _channels(operator, self._dense, self._dense)[0]
        return float(FLOAT_BYTES * o * (share * np.prod(operator.weight_shape[1:]) + 1))

    def _activations(self, name: str, widths: Sequence[int]) -> np.ndarray:
        """Return what a group's activations cost at some widths, ``[widths, targets + 1]``; they take no bytes."""
        rates = self._rates[:, self.kinds.index(self._kind[name])] * self._elements[name]
        return np.stack([np.append(width * rates, 0.0) for width in widths])

    def _price(self, operator: CoupledOperator, shape: OperatorShape, widths: Mapping[str, int]) -> np.ndarray:
        return np.append(self._latency(operator, shape, widths), self._bytes(operator, widths))

    def _costs(
        self,
        operator: CoupledOperator,
        shape: OperatorShape,
        names: tuple[str, ...],
        widths: tuple[tuple[int, ...], ...],
    ) -> list[Cost]:
        position = {name: k for k, name in enumerate(names)}
        scope = sorted(position[name] for name in {*operator.in_cells, *operator.out_cells} if name in position)
        if len(scope) <= WIDEST_COUPLING:
            # what no group touches costs the same in every plan; any group may carry it
            return [self._tabulated(operator, shape, names, widths, tuple(scope) or (0,))]
        outputs = [position[name] for name in operator.out_cells if name in position][: WIDEST_COUPLING - 1]
        whole = _channels(operator, self._dense, self._dense)[0]
        found, left = [], 1.0
        for g in sorted(set(scope) - set(outputs)):
            share = operator.in_cells[names[g]] * self._dense[names[g]] / whole
            joint = tuple(sorted({g, *outputs}))
            values = self._tabulated(operator, shape, names, widths, joint).values
            dense = np.take(values, [-1], axis=joint.index(g))
            found.append(Cost(joint, np.maximum(values - (1 - share) * dense, 0)))
            left -= share
        if outputs and left > 0:
            rest = self._tabulated(operator, shape, names, widths, tuple(sorted(outputs)))
            found.append(Cost(rest.groups, left * rest.values))
        return found

    def _tabulated(
        self,
        operator: CoupledOperator,
        shape: OperatorShape,
        names: tuple[str, ...],
        widths: tuple[tuple[int, ...], ...],
        scope: tuple[int, ...],
    ) -> Cost:
        values = np.empty([*(len(widths[g]) for g in scope), len(self._tables) + 1])
        for index in itertools.product(*(range(len(widths[g])) for g in scope)):
            chosen = {names[g]: widths[g][i] for g, i in zip(scope, index, strict=True)}
            values[index] = self._price(operator, shape, self._dense | chosen)
        return Cost(scope, values)


def _channels(operator: CoupledOperator, dense: Mapping[str, int], widths: Mapping[str, int]) -> tuple[int, int]:
    """Return the input and output channels of an operator at some widths."""
    removed = {name: dense[name] - widths[name] for name in {*operator.in_cells, *operator.out_cells}}
    ins = operator.weight_shape[1] * operator.groups - sum(
        cells * removed[name] for name, cells in operator.in_cells.items()
    )
    outs = operator.weight_shape[0] - sum(cells * removed[name] for name, cells in operator.out_cells.items())
    return ins, outs


def _depthwise(operator: CoupledOperator) -> bool:
    return operator.groups > 1 and operator.weight_shape[1] == 1
