"""From united labels to groups: classes of the union-find, gathered by the tensors they live in."""

from collections import Counter, defaultdict
from math import gcd, lcm, prod
from typing import Any

import numpy as np
import torch
from torch import fx

from reprune.pruning.graph.analysis import Frozen, Group, Member, Operator
from reprune.pruning.graph.capture import Capture
from reprune.pruning.graph.flow import Flow, Weighing
from reprune.pruning.graph.layout import Layout
from reprune.pruning.graph.union_find import Labels

Place = tuple[str, int]
"""A dimension of a tensor."""


def settle_splits(flow: Flow) -> Labels:
    """Make every split dimension lose whole rows of one axis, and return the class of each label.

    Where the operators have not decided which axis shrinks, the last does: ``view(n, groups, c // groups)``.
    """
    classes = flow.couplings.classes()
    while True:
        frozen = flow.couplings.reasons(classes)
        settled = True
        for split in flow.splits:
            grid = classes[split.grid]
            if _is_regular(grid) or all(each in frozen for each in np.unique(grid).tolist()):
                continue
            for axis in range(grid.ndim - 1):
                flow.couplings.unite_along(split.grid, axis)
            settled = False
        if settled:
            return classes
        classes = flow.couplings.classes()


def _is_regular(grid: Labels) -> bool:
    for axis in range(grid.ndim):
        rows = np.moveaxis(grid, axis, 0).reshape(grid.shape[axis], -1)
        if bool((rows == rows[:, :1]).all()):
            return True
    return False


def resolve(
    flow: Flow, owned: dict[str, Layout], captured: Capture, parameters: set[str]
) -> tuple[tuple[Group, ...], tuple[Frozen, ...], Labels]:
    """Gather the classes into groups.

    Returns:
        The groups, what stays whole, and for each label the number of its cell over all groups, or -1.
    """
    used = {**(_uses(captured.training) if captured.training else {}), **_uses(captured)}
    places = {
        (name, dim): labels
        for name, layout in owned.items()
        if name in used
        for dim in range(len(layout.shape))
        if (labels := layout.labels(dim)) is not None
    }
    classes = settle_splits(flow)
    reasons = flow.couplings.reasons(classes)
    roles = {place: used[place[0]][1][place[1]] for place in places}
    made = sorted(_drafts(places, classes, reasons, roles, used), key=lambda draft: draft[0])
    heads = set(
        classes[np.unique(np.concatenate([np.empty(0, np.int64), *(g.reshape(-1) for g in flow.heads)]))].tolist()
    )
    groups: list[Group] = []
    numbering: dict[int, int] = {}
    taken: Counter[str] = Counter()
    for _, members, cells in made:
        path = next(member.tensor for member in members if member.role == "producer").rpartition(".")
        name = path[0] or path[2]
        taken[name] += 1
        unique = name if taken[name] == 1 else f"{name}#{taken[name]}"
        step = _step(flow, classes, cells)
        groups.append(Group(unique, _kind(members, used, cells[0] in heads), len(cells), members, step))
        numbering.update({each: len(numbering) + i for i, each in enumerate(cells)})
    frozen = _frozen(places, classes, reasons, numbering, parameters)
    lookup = np.full(int(classes.max(initial=-1)) + 1, -1, dtype=np.int64)
    for each, cell in numbering.items():
        lookup[each] = cell
    return tuple(groups), frozen, lookup[classes] if len(classes) else classes


Draft = tuple[int, tuple[Member, ...], list[int]]


def _drafts(
    places: dict[Place, Labels], classes: Labels, reasons: dict[int, str], roles: dict[Place, str], used: Any
) -> list[Draft]:
    """Make the members of each group; none where there is nothing to choose, or nothing that makes the slice."""
    bundles = [cells for cells in _bundles(list(places.values()), classes, reasons) if len(cells) > 1]
    bundle, rank = (np.full(int(classes.max(initial=-1)) + 1, -1, dtype=np.int64) for _ in range(2))
    for number, cells in enumerate(bundles):
        bundle[cells], rank[cells] = number, np.arange(len(cells))
    members: list[list[tuple[int, Member]]] = [[] for _ in bundles]
    for (name, dim), labels in places.items():
        own = classes[labels]
        order = np.lexsort((rank[own], bundle[own]))  # stable: the indices of a cell stay ascending
        numbers, starts = np.unique(bundle[own][order], return_index=True)
        for number, indices in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            if number >= 0:
                rows = tuple(map(tuple, indices.reshape(len(bundles[number]), -1).tolist()))
                members[number].append((used[name][0], Member(name, dim, rows, roles[name, dim])))
    drafts = []
    for found, cells in zip(members, bundles, strict=True):
        found.sort(key=lambda item: (item[0], item[1].role != "producer", item[1].dim))
        producing = [order for order, member in found if member.role == "producer"]
        if producing:
            drafts.append((producing[0], tuple(member for _, member in found), cells))
    return drafts


def _bundles(places: list[Labels], classes: Labels, reasons: dict[int, str]) -> list[list[int]]:
    """Gather the classes that live in the same places, as often in each; in the order in which they appear."""
    empty = np.empty((0, 3), dtype=np.int64)
    rows, seen = [empty], [empty[:, 0]]
    for place, labels in enumerate(places):
        values, counts = np.unique(classes[labels], return_counts=True)
        rows.append(np.stack([values, np.full_like(values, place), counts], axis=1))
        seen.append(classes[labels])
    table = np.concatenate(rows)
    table = table[np.argsort(table[:, 0], kind="stable")]
    values, starts = np.unique(table[:, 0], return_index=True)
    signatures = dict(zip(values.tolist(), np.split(table[:, 1:], starts[1:]), strict=True)) if len(values) else {}
    _, first = np.unique(np.concatenate(seen), return_index=True)
    bundles: dict[bytes, list[int]] = defaultdict(list)
    for each in values[np.argsort(first)].tolist():
        if each not in reasons:
            bundles[signatures[each].tobytes()].append(each)
    return [sorted(cells) for cells in bundles.values()]


def _step(flow: Flow, classes: Labels, cells: list[int]) -> int:
    """Return what the number of cells must be a multiple of, for every dimension that a kernel wants aligned."""
    step = 1
    for alignment in flow.alignments:
        worth = int(np.isin(classes[alignment.labels], cells).sum()) // len(cells)
        if worth:
            step = lcm(step, alignment.multiple // gcd(alignment.multiple, worth))
    return step


def _kind(members: tuple[Member, ...], used: Any, is_head: bool) -> str:
    producers = [member for member in members if member.role == "producer"]
    matrices = [member for member in producers if used[member.tensor][2] != "vector"]
    first = used[(matrices or producers)[0].tensor][2]
    if is_head and any(len(member.cells[0]) > 1 for member in producers):
        sizes = {len(member.cells[0]) for member in matrices if used[member.tensor][2] == "linear"}
        stream = {m.tensor for m in matrices} & {m.tensor for m in members if m.role == "consumer"}
        return "kv-head" if len(sizes) > 1 and not stream else "head"
    return {"conv": "channel", "linear": "neuron", "embedding": "embedding"}.get(first, "channel")


def _frozen(
    places: dict[Place, Labels],
    classes: Labels,
    reasons: dict[int, str],
    numbering: dict[int, int],
    parameters: set[str],
) -> tuple[Frozen, ...]:
    found = []
    for (name, dim), labels in places.items():
        if name not in parameters:
            continue
        values, first = np.unique(classes[labels], return_index=True)
        whole = [each for each in values[np.argsort(first)].tolist() if each not in numbering]
        reason = next(
            (reasons[each] for each in whole if each in reasons), "all its indices go together, or nothing makes them"
        )
        if whole and not (dim >= 2 and "slides along" in reason):  # a kernel's extent is nothing to prune
            found.append(Frozen(f"{name}[{dim}]", reason))
    return tuple(found)


GROUPED = ("_grouped_mm", "grouped_mm", "transformers::grouped_mm_fallback")

ROLES = {
    "linear": {"weight": {0: "producer", 1: "consumer"}},
    "matmul": {"other": {0: "consumer", 1: "producer"}},
    **dict.fromkeys(GROUPED, {"weight": {1: "consumer", 2: "producer"}, "mat2": {1: "consumer", 2: "producer"}}),
    "mm": {"mat2": {0: "consumer", 1: "producer"}},
    "addmm": {"mat2": {0: "consumer", 1: "producer"}},
    "batch_norm": {"running_mean": {0: "state"}, "running_var": {0: "state"}},
    **{f"conv{n}d": {"weight": {0: "producer", 1: "consumer"}} for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": {"weight": {0: "consumer", 1: "producer"}} for n in (1, 2, 3)},
    "bilinear": {"weight": {0: "producer", 1: "consumer", 2: "consumer"}},
    **{
        f"{rnn}_cell": dict.fromkeys(("w_ih", "w_hh"), {0: "producer", 1: "consumer"})
        for rnn in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    },
    **{rnn: {"params": {0: "producer", 1: "consumer"}} for rnn in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
}
"""What an operator does with the dimensions of its weights; a tensor used otherwise produces."""

KINDS = {
    "conv": "conv",
    "linear": "linear",
    "embedding": "embedding",
    "matmul": "linear",
    "mm": "linear",
    "addmm": "linear",
    **dict.fromkeys(GROUPED, "linear"),
}

MOVES = ("transpose", "permute", "t", "numpy_T", "mT")
"""Operators that only rearrange a weight: what comes after them uses it."""


def _uses(captured: Capture) -> dict[str, tuple[int, dict[int, str], str]]:
    """Return, for each tensor that the graph uses, its first use, the roles of its dimensions, and its kind."""
    found: dict[str, tuple[int, dict[int, str], str]] = {}
    weights = {
        node: (captured.tensors[node.name], tuple(range(node.meta["val"].dim())))
        for node in captured.module.graph.nodes
        if node.op == "placeholder" and node.name in captured.tensors
    }
    for order, node in enumerate(captured.module.graph.nodes):
        if node.op != "call_function":
            continue
        if node.args and node.args[0] in weights and _name(node) in MOVES and node.users:
            tensor, dims = weights[node.args[0]]
            weights[node] = (tensor, tuple(dims[d] for d in _order(node, len(dims))))
            continue
        schema = getattr(node.target, "_schema", None)
        operator = _name(node)
        names = [argument.name for argument in schema.arguments] if schema is not None else []
        arguments = [*zip(names or map(str, range(len(node.args))), node.args, strict=False), *node.kwargs.items()]
        for name, value in arguments:
            for source in value if isinstance(value, list | tuple) else [value]:
                if isinstance(source, fx.Node) and source in weights:
                    tensor, dims = weights[source]
                    kind = next((k for prefix, k in KINDS.items() if operator.startswith(prefix)), "other")
                    roles = ROLES.get(operator, {}).get(name, {})
                    own = {dims[dim]: roles.get(dim, "producer") for dim in range(len(dims))}
                    first, before, kept = found.get(tensor, (order, own, kind if len(dims) > 1 else "vector"))
                    both = {d: "producer" if "producer" in (r, before[d]) else r for d, r in own.items()}
                    found[tensor] = (first, both, kept)
    return found


def _name(node: fx.Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).removeprefix("aten::") if schema is not None else ""


def _order(node: fx.Node, rank: int) -> list[int]:
    """Return which dimension of what it is given each dimension of a node's result is."""
    sizes = list(range(2, rank + 2))
    moved = node.target(torch.empty(sizes, device="meta"), *node.args[1:], **node.kwargs)  # type: ignore[operator]
    return [sizes.index(size) for size in moved.shape]


def operators(flow: Flow, captured: Capture, groups: tuple[Group, ...], cells: Labels) -> tuple[Operator, ...]:
    """Describe every node that multiplies by a weight, in execution order."""
    owner = [group.name for group in groups for _ in range(group.width)]
    widths = {group.name: group.width for group in groups}
    found = []
    for weighing in flow.weighings:
        name = captured.tensors.get(_origin(weighing.weight).name)
        if name is not None:
            found.append(_operator(weighing, name, lambda labels: _worth(labels, cells, owner, widths)))
    return tuple(found)


def _operator(weighing: Weighing, name: str, worth: Any) -> Operator:
    node = weighing.node
    geometry: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in weighing.geometry.items()
    }
    return Operator(
        name=name,
        node=node.name,
        kind=weighing.kind,
        weight_shape=weighing.shape,
        input_shape=tuple(weighing.source.meta["val"].shape),
        output_shape=tuple(node.meta["val"].shape),
        in_cells=worth(weighing.inputs),
        out_cells=worth(weighing.outputs),
        **geometry,
    )


def _origin(node: fx.Node) -> fx.Node:
    """Follow a weight through views of it back to its placeholder."""
    while (
        node.op == "call_function"
        and node.args
        and isinstance(node.args[0], fx.Node)
        and isinstance(node.args[0].meta.get("val"), torch.Tensor)
        and prod(node.meta["val"].shape) == prod(node.args[0].meta["val"].shape)
    ):
        node = node.args[0]
    return node


def _worth(labels: Labels | None, cells: Labels, owner: list[str], widths: dict[str, int]) -> dict[str, int]:
    if labels is None:
        return {}
    counted = Counter(owner[cell] for cell in cells[labels].tolist() if cell >= 0)
    return {name: count // widths[name] for name, count in counted.items()}
