"""Outputs of a model with one group narrowed, without running again what the group cannot change.

The dense graph is run once for a batch, and the values that lie just outside a group's reach are kept. For each width
then only what depends on the group is run, on the very numbers that a whole run would compute: results are the same to
the bit. What is removed is zeroed as the judge of every cut does it (`reprune.pruning.verify`). A layer that only
writes to the group is not run again either: where its weight would be zeroed, its result is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from reprune.errors import PruningError
from reprune.planning.sensitivity.dataflow import Dataflow
from reprune.planning.sensitivity.layer_outputs import layer_outputs
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.capture import as_call, capture, evaluating, leaves, tensors_of
from reprune.pruning.verify import ZeroedOut, cells_of, difference

Values = dict[fx.Node, Any]


class Stretch:
    """Nodes that are run in order, and what of it does not change from run to run.

    Args:
        nodes: In the order of execution.

    Attributes:
        inside: The same nodes as a set.
        dead: For each node, those whose values nothing after it reads.
        nested: The nodes that take others in lists, such as a concatenation.
    """

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        self.nodes = tuple(nodes)
        self.inside = frozenset(self.nodes)
        last = {source: node for node in self.nodes for source in node.all_input_nodes}
        self.dead: dict[fx.Node, list[fx.Node]] = {}
        for source, node in last.items():
            self.dead.setdefault(node, []).append(source)
        self.nested = frozenset(node for node in self.nodes if _nests(node))


class SuffixRunner:
    """A model's graph; it can be run from where a group's width begins to matter.

    The graph that was analyzed serves where it takes a batch of this size and gives what the model gives; one that
    holds the size of its example is exported again.

    Args:
        model: The dense model.
        analysis: Its groups.
        inputs: A batch; all others must be shaped like it, but for their size where that is free.

    Attributes:
        any_size: Whether batches may have other sizes.
        layer_outputs: Of layers that need not be run again where they only lose outputs, by node.

    Raises:
        PruningError: The graph of such a batch differs from the one that was analyzed, or from the model.
    """

    def __init__(self, model: nn.Module, analysis: Analysis, inputs: Any) -> None:
        self.model = model
        same = _shapes(inputs) == _shapes(analysis.example_inputs)
        args, kwargs = as_call(inputs)
        with evaluating(model):
            self._template, self._structure = pytree.tree_flatten(model(*args, **kwargs))
        self._use(analysis)
        problem = self._problem(inputs)
        self.any_size = problem is None and not same
        if problem is not None and not same:
            self._use(_at_shape(model, analysis, inputs))
            problem = self._problem(inputs)
        if problem is not None:
            raise PruningError(f"The exported graph is not the model: {problem}.", "Report this model to reprune.")

    def _use(self, analysis: Analysis) -> None:
        captured, tensors = analysis.capture, tensors_of(self.model)
        self.analysis = analysis
        self.flow = Dataflow(captured.module.graph)
        self._constants = dict(captured.constants)
        self._constants |= {placeholder: tensors[name].detach() for placeholder, name in captured.tensors.items()}
        self._whole = Stretch(self.flow.nodes)
        self.layer_outputs = layer_outputs(analysis)
        self._parts = {group.name: Stretch(self._part(group.name)) for group in analysis.groups}

    def layers(self, group: str | None = None) -> int:
        """Return how many layers, that is operators with a weight, are run for a group, or in the whole graph."""
        weighing = {operator.node for operator in self.analysis.operators}
        return sum(node.name in weighing for node in (self._parts[group] if group else self._whole).nodes)

    def dense(self, inputs: Any, groups: Iterable[str]) -> Values:
        """Run the dense graph on a batch.

        Returns:
            What `narrowed` needs for the given groups, and `outputs` for the dense model.
        """
        wanted = set(self.analysis.capture.results).union(*(self.flow.frontier(self._parts[g].nodes) for g in groups))
        return Part(self, {}).run_nodes(self._whole, self.feed(inputs), wanted)

    def narrowed(self, dense: Values, keep: Mapping[str, Sequence[int]]) -> Any:
        """Return the outputs of the model with only some cells of some groups, from a dense run on the same batch."""
        parts = [self._parts[name] for name in keep]
        reach = frozenset().union(*(part.inside for part in parts))
        part = parts[0] if len(parts) == 1 else Stretch(node for node in self.flow.nodes if node in reach)
        return self.outputs(Part(self, keep).run_nodes(part, dense, set(self.analysis.capture.results)))

    def whole(self, inputs: Any, keep: Mapping[str, Sequence[int]]) -> Any:
        """Return what `narrowed` returns, by running the whole graph."""
        results = set(self.analysis.capture.results)
        return self.outputs(Part(self, keep).run_nodes(self._whole, self.feed(inputs), results))

    def outputs(self, values: Values) -> Any:
        """Return outputs in the structure that the model gives them."""
        found = (values[node] for node in self.analysis.capture.results)
        return pytree.tree_unflatten(
            [next(found) if isinstance(leaf, Tensor) else leaf for leaf in self._template], self._structure
        )

    def feed(self, inputs: Any) -> Values:
        """Return the values of all placeholders."""
        given = {**self._constants, **dict(zip(self.analysis.capture.inputs, leaves(inputs), strict=True))}
        return {node: given[node.name] for node in self.flow.nodes if node.op == "placeholder"}

    def _part(self, name: str) -> list[fx.Node]:
        """Return the nodes that have to be run for another width of a group, in order."""
        zeroing = ZeroedOut(self.analysis, cells_of(self.analysis, {name: []}), collect=False)
        touched: set[fx.Node] = set()
        for node in self.flow.nodes:
            if any(source.name in zeroing.gone for source in node.all_input_nodes):
                outputs = self.layer_outputs.get(node.name)
                touched.update(node.users if outputs and outputs.reads_all(zeroing) else [node])
            if node.name in zeroing.reductions:
                touched.add(node)
        return self.flow.downstream(touched)

    def _problem(self, inputs: Any) -> str | None:
        """Return in what the graph differs from the model on a batch, or None."""
        nodes = {node.name: node for node in self.flow.nodes}
        mixed = [(it, _source(nodes[it.node], it.argument)) for it in self.analysis.flow.reductions]
        results = self.analysis.capture.results
        wanted = {*results, *(source for _, source in mixed if source is not None)}
        try:
            values = Part(self, {}).run_nodes(self._whole, self.feed(inputs), wanted)
        except (RuntimeError, ValueError, IndexError) as error:  # a size is written into the graph
            return str(error).partition("\n")[0]
        for it, source in mixed:
            if source is not None and values[source].shape[it.dim] != np.size(it.labels):
                return f"{it.node} mixes examples"
        expected = [leaf for leaf in self._template if isinstance(leaf, Tensor)]
        return difference(expected, [values[node] for node in results])


class Part(ZeroedOut):
    """Run some nodes of a graph as if only some cells of some groups were there."""

    def __init__(self, runner: SuffixRunner, keep: Mapping[str, Sequence[int]]) -> None:
        super().__init__(runner.analysis, cells_of(runner.analysis, keep), collect=False)  # run_nodes does
        self._flow, self._layer_outputs = runner.flow, runner.layer_outputs
        self._now = Stretch(())

    def run_nodes(self, stretch: Stretch, values: Values, wanted: set[fx.Node]) -> Values:
        """Run nodes in order.

        Args:
            stretch: Which.
            values: Of the placeholders, and of what else the nodes read.
            wanted: Nodes whose values are needed later; where one was not run, its value is passed on.
        """
        flow, self._now = self._flow, stretch
        self.env = {node: copied(value) if node in flow.scribbled else value for node, value in values.items()}
        for node in self.env.keys() - stretch.inside:
            if node.name in self._layer_outputs:
                self.env[node] = self._layer_outputs[node.name].zeroed(self.env[node], self)
        kept = {node: value for node, value in values.items() if node.op == "placeholder" or node in wanted}
        with torch.no_grad():
            for node in stretch.nodes:
                if node.op in ("placeholder", "output"):
                    continue
                self.env[node] = value = self.run_node(node)
                if node in wanted:
                    kept[node] = copied(value) if flow.overwritten(node) else value
                for source in stretch.dead.get(node, ()):
                    self.env.pop(source, None)
        return kept

    def run_node(self, n: fx.Node) -> Any:
        """Run a node; most of them without the interpreter's bookkeeping, which takes as long as a small operator."""
        if n.op != "call_function" or n.name in self.reductions:
            return super().run_node(n)
        if n in self._now.nested or n.kwargs or n in self._flow.writes:
            args, kwargs = self.map_nodes_to_values(n.args, n), self.map_nodes_to_values(n.kwargs, n)
            return n.target(*args, **kwargs)  # type: ignore[operator]
        return n.target(*(self.value_of(it) if isinstance(it, fx.Node) else it for it in n.args))  # type: ignore[operator]

    def map_nodes_to_values(self, args: Any, n: fx.Node) -> Any:
        """Look arguments up; kept values that the node writes into are copied before."""
        lent = {t for t in self._flow.writes.get(n, ()) if self._flow.owner[t] not in self._now.inside}
        for node in lent:
            if node.op != "placeholder":
                self.env[node] = copied(self.env[node])
        return super().map_nodes_to_values(args, n)


def _nests(node: fx.Node) -> bool:
    """Return whether a node takes others in a list."""
    found: list[fx.Node] = []
    for argument in node.args:
        if not isinstance(argument, fx.Node):
            fx.node.map_arg(argument, found.append)
    return bool(found)


def copied(value: Any) -> Any:
    """Return a value with its tensors cloned."""
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, value)


def _at_shape(model: nn.Module, analysis: Analysis, inputs: Any) -> Analysis:
    """Return an analysis whose graph is exported again, for batches of this shape."""
    captured = capture(model, inputs)
    known = {node.name: node for node in captured.module.graph.nodes}
    same = [node.name for node in analysis.capture.module.graph.nodes] == list(known)
    fits = same and all(
        _length(known[it.node], it.argument, it.dim) in (None, np.size(it.labels)) for it in analysis.flow.reductions
    )
    if not fits:
        raise PruningError(
            "The model's graph depends on the number of examples in a batch.",
            f"Use batches shaped like the analyzed example: {_shapes(analysis.example_inputs)}.",
        )
    return replace(analysis, capture=captured, example_inputs=inputs)


def _length(node: fx.Node, argument: str, dim: int) -> int | None:
    """Return the length of a dimension of a node's argument, where the graph knows it."""
    source = _source(node, argument)
    value = source.meta.get("val") if source is not None else None
    return int(value.shape[dim]) if isinstance(value, Tensor) else None


def _source(node: fx.Node, argument: str) -> fx.Node | None:
    """Return the node that gives another one its argument of a name."""
    names = [it.name for it in node.target._schema.arguments]  # type: ignore[union-attr]
    source = {**dict(zip(names, node.args, strict=False)), **node.kwargs}.get(argument)
    return source if isinstance(source, fx.Node) else None


def _shapes(inputs: Any) -> list[Any]:
    return [list(leaf.shape) if isinstance(leaf, Tensor) else leaf for leaf in leaves(inputs)]
