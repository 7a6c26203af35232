"""What of an exported graph must be run again when some weights change, and what of it may be kept from before."""

from collections.abc import Iterable
from typing import Any

from torch import fx


class Dataflow:
    """Who depends on whom in a graph, and who writes over whose memory.

    A graph may hold operators that write in place (``relu_``). What they write over is known by following views to the
    value that owns the memory.

    Args:
        graph: An exported graph.

    Attributes:
        nodes: In the order of execution.
        owner: The node that owns the memory of each node's value.
        writes: For each node that writes in place, the nodes whose values it writes into.
        scribbled: The placeholders whose memory is written into.
        separable: Whether no value is read under one name after it was written over under another, so that a part of
            the graph can be run alone.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.nodes = list(graph.nodes)
        self.order = {node: place for place, node in enumerate(self.nodes)}
        self.owner: dict[fx.Node, fx.Node] = {}
        for node in self.nodes:
            source = next(iter(_aliased(node)), None)
            self.owner[node] = node if source is None else self.owner[source]
        self.writes = {node: written for node in self.nodes if (written := list(_arguments(node, writing=True)))}
        targets = {target for written in self.writes.values() for target in written}
        self.scribbled = {owner for target in targets if (owner := self.owner[target]).op == "placeholder"}
        self._last_write: dict[fx.Node, int] = {}
        for writer, written in self.writes.items():
            self._last_write.update({self.owner[target]: self.order[writer] for target in written})
        self.separable = self._separable()

    def downstream(self, touched: Iterable[fx.Node]) -> list[fx.Node]:
        """Return the nodes whose value may change with those of some nodes, themselves included, in order.

        Where the graph is not `separable`, that is every node but the placeholders.
        """
        changed = set(touched)
        if not self.separable and changed:
            return [node for node in self.nodes if node.op != "placeholder"]
        for node in self.nodes:
            if any(source in changed for source in node.all_input_nodes):
                changed.add(node)
        return [node for node in self.nodes if node in changed]

    def frontier(self, part: Iterable[fx.Node]) -> set[fx.Node]:
        """Return the nodes outside a part of the graph whose values it reads, placeholders left out."""
        inside = set(part)
        outside = {source for node in inside for source in node.all_input_nodes if source not in inside}
        return {node for node in outside if node.op != "placeholder"}

    def overwritten(self, node: fx.Node) -> bool:
        """Return whether a later node writes into the memory that holds a node's value."""
        return self._last_write.get(self.owner[node], -1) > self.order[node]

    def _separable(self) -> bool:
        return not any(
            self.owner[source] is self.owner[target] and not self._through(source, writer)
            for writer, targets in self.writes.items()
            for target in targets
            for node in self.nodes[self.order[writer] + 1 :]
            for source in node.all_input_nodes
        )

    def _through(self, node: fx.Node, writer: fx.Node) -> bool:
        """Return whether a value is a writer's result, or a view of it."""
        current: fx.Node | None = node
        while current is not None and current is not writer:
            current = next(iter(_aliased(current)), None)
        return current is writer


def _aliased(node: fx.Node) -> Iterable[fx.Node]:
    """Yield the arguments whose memory a node's result shares."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:  # getitem and the like pick from a tuple
        return node.all_input_nodes[:1] if node.op == "call_function" else ()
    return _arguments(node) if any(result.alias_info for result in schema.returns) else ()


def _arguments(node: fx.Node, *, writing: bool = False) -> Iterable[fx.Node]:
    """Yield the arguments that a node's operator shares memory with, or only those that it writes into."""
    schema = getattr(node.target, "_schema", None)
    given: dict[str, Any] = {}
    if schema is not None:
        given = {**dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)), **node.kwargs}
    for argument in schema.arguments if schema is not None else ():
        if argument.alias_info is not None and (argument.alias_info.is_write or not writing):
            found: list[fx.Node] = []
            fx.node.map_arg(given.get(argument.name), found.append)
            yield from found
