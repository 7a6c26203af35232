"""Operators that multiply by weights or contract two tensors: the ones a cut makes cheaper."""

from collections.abc import Mapping
from string import ascii_letters
from typing import Any

from torch import fx

from reprune.pruning.graph.flow import Flow, Weighing
from reprune.pruning.graph.layout import Layout, grouped, ungrouped
from reprune.pruning.graph.rules.registry import Call, Outcome, rule
from reprune.pruning.graph.union_find import Labels


@rule("linear")
def linear(flow: Flow, call: Call) -> Outcome:
    """``[..., I]`` times ``[O, I]`` plus ``[O]``."""
    x, weight, bias = call.layout("input"), call.layout("weight"), call["bias"]
    batch = [f"b{i}" for i in range(len(x.shape) - 1)]
    operands = [(x, [*batch, "i"]), (weight, ["o", "i"])]
    coupling = flow.couple(*operands, *([(bias, ["o"])] if bias is not None else []))
    _weigh(flow, call, "linear", "weight", coupling.labels("i"), coupling.labels("o"))
    return coupling.result([*batch, "o"], call.shape)


@rule("bilinear")
def bilinear(flow: Flow, call: Call) -> Outcome:
    """``[..., I]`` and ``[..., J]`` with ``[O, I, J]`` plus ``[O]``."""
    left, right, bias = call.layout("input1"), call.layout("input2"), call["bias"]
    batch = [f"b{i}" for i in range(len(left.shape) - 1)]
    operands = [(left, [*batch, "i"]), (right, [*batch, "j"]), (call.layout("weight"), ["o", "i", "j"])]
    return flow.couple(*operands, *([(bias, ["o"])] if bias is not None else [])).result([*batch, "o"], call.shape)


@rule("cdist")
def distance(flow: Flow, call: Call) -> Outcome:
    """``[..., P, M]`` and ``[..., R, M]`` to ``[..., P, R]``: features that are zero in both add nothing."""
    left, right = call.layout("x1"), call.layout("x2")
    batch = [f"b{i}" for i in range(max(len(left.shape), len(right.shape)) - 2)]
    ours = [*batch[len(batch) - len(left.shape) + 2 :], "p", "m"]
    yours = [*batch[len(batch) - len(right.shape) + 2 :], "r", "m"]
    return flow.couple((left, ours), (right, yours)).result([*batch, "p", "r"], call.shape)


@rule("matmul", "bmm", "mm", "mv", "dot")
def matmul(flow: Flow, call: Call) -> Outcome:
    """``[..., M, K]`` times ``[..., K, N]``, batch dimensions broadcast."""
    names = [name for name, _ in call.tensors()]
    return _matmul(flow, call, names[0], names[1], [])


@rule("addmm", "baddbmm")
def addmm(flow: Flow, call: Call) -> Outcome:
    """A bias plus ``[..., M, K]`` times ``[..., K, N]``."""
    names = ("mat1", "mat2") if "mat1" in call.arguments else ("batch1", "batch2")
    return _matmul(flow, call, *names, [call.layout("self")])


def _matmul(flow: Flow, call: Call, left: str, right: str, added: list[Layout]) -> Outcome:
    a, b = call.layout(left), call.layout(right)
    batch = [f"b{i}" for i in range(max(len(a.shape), len(b.shape), 2) - 2)]
    ours = [*batch[len(batch) - max(len(a.shape) - 2, 0) :], *(["m"] if len(a.shape) > 1 else []), "k"]
    yours = [*batch[len(batch) - max(len(b.shape) - 2, 0) :], "k", *(["n"] if len(b.shape) > 1 else [])]
    out = [*batch, *(x for x in ("m", "n") if x in ours + yours)]
    coupling = flow.couple((a, ours), (b, yours), *((x, out[len(out) - len(x.shape) :]) for x in added))
    if len(b.shape) == 2:
        _weigh(flow, call, "matmul", right, coupling.labels("k"), coupling.labels("n"))
    _note_contraction(flow, left, a, "k", ours, coupling.labels("k"))
    _note_contraction(flow, right, b, "k", yours, coupling.labels("k"))
    _note_heads(flow, a, b, batch)
    return coupling.result(out, call.shape)


def _note_contraction(flow: Flow, name: str, x: Layout, letter: str, letters: list[str], labels: Labels | None) -> None:
    if labels is not None:
        flow.note_reduction(name, x, letters.index(letter))


def _note_heads(flow: Flow, a: Layout, b: Layout, batch: list[str]) -> None:
    """Activations of split dimensions multiplied with one another are attention: their rows are heads."""
    for x in (a, b) if batch else ():
        flow.note_heads(x)


@rule("einsum")
def einsum(flow: Flow, call: Call) -> Outcome:
    """Any contraction written in Einstein's notation; an ellipsis stands for the leading letters."""
    tensors: list[Layout] = call["tensors"]
    equation = call["equation"].replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if not arrow:
        letters = inputs.replace(",", "").replace("...", "")
        output = ("..." if "..." in inputs else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    free = [c for c in ascii_letters if c not in equation]
    depth = max(
        (len(x.shape) - len(t.replace("...", "")) for x, t in zip(tensors, terms, strict=True) if "..." in t), default=0
    )
    spelled = []
    for x, term in zip(tensors, terms, strict=True):
        own = len(x.shape) - len(term.replace("...", ""))
        spelled.append(list(term.replace("...", "".join(free[depth - own : depth]))))
    if any(len(set(term)) < len(term) for term in spelled):  # a diagonal
        for x in tensors:
            flow.freeze(x, "takes a diagonal")
        return Layout(call.shape)
    out = list(output.replace("...", "".join(free[:depth])))
    coupling = flow.couple(*zip(tensors, spelled, strict=True))
    _weigh_einsum(flow, call, spelled, out, coupling.labels)
    _note_heads_einsum(flow, tensors, spelled, out)
    return coupling.result(out, call.shape)


def _weigh_einsum(flow: Flow, call: Call, spelled: list[list[str]], out: list[str], labels: object) -> None:
    nodes = call.node.args[1]
    if len(spelled) == 2 and isinstance(nodes, list | tuple):
        for own, other, node in ((spelled[1], spelled[0], nodes[1]), (spelled[0], spelled[1], nodes[0])):
            if isinstance(node, fx.Node) and node.op == "placeholder" and len(own) == 2:
                contracted = [x for x in own if x in other and x not in out]
                produced = [x for x in own if x in out and x not in other]
                if len(contracted) == len(produced) == 1:
                    ins, outs = labels(contracted[0]), labels(produced[0])  # type: ignore[operator]
                    sizes = dict(zip(own, node.meta["val"].shape, strict=True))
                    shape = int(sizes[produced[0]]), int(sizes[contracted[0]])
                    flow.weighings.append(Weighing(call.node, node, "matmul", ins, outs, shape, {}))


def _note_heads_einsum(flow: Flow, tensors: list[Layout], spelled: list[list[str]], out: list[str]) -> None:
    for x, letters in zip(tensors, spelled, strict=True):
        for factor in x.factors:
            if len(factor.dims) > 1 and any(letters[d] not in out for d in factor.dims):
                flow.heads.append(factor.grid)


def _weigh(
    flow: Flow, call: Call, kind: str, weight: str, ins: Labels | None, outs: Labels | None, **geometry: object
) -> None:
    node = call.node.kwargs.get(weight)
    for argument, value in zip(call.node.target._schema.arguments, call.node.args, strict=False):  # type: ignore[union-attr]
        if argument.name == weight:
            node = value
    if isinstance(node, fx.Node):
        shape = _out_first(kind, tuple(int(size) for size in node.meta["val"].shape), geometry)
        flow.weighings.append(Weighing(call.node, node, kind, ins, outs, shape, dict(geometry)))


def _out_first(kind: str, shape: tuple[int, ...], geometry: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a weight as ``[out, in / groups, *kernel]``."""
    if kind == "matmul":
        return shape[::-1]
    if kind == "conv_transpose":
        return shape[1] * geometry["groups"], shape[0] // geometry["groups"], *shape[2:]
    return shape


@rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(flow: Flow, call: Call) -> Outcome:
    """A convolution of ``[N, C, ...]`` or ``[C, ...]``, grouped or not, transposed or not.

    Depthwise: groups follow the channels. Otherwise the number of groups stays, and each group loses the same channels.
    """
    transposed = "transpose" in str(call.node.target)
    x, weight, groups = call.layout("input"), call.layout("weight"), call["groups"]
    spatial = len(weight.shape) - 2
    channel = len(x.shape) - spatial - 1
    x = flow.fix_all(x, range(channel + 1, len(x.shape)), "slides along a dimension")
    weight = flow.fix_all(weight, range(2, 2 + spatial), "slides along a dimension")
    x = flow.alone(x, channel)
    weight = grouped(weight, groups, 0)
    bias = call["bias"]
    batch = [f"n{i}" for i in range(channel)]
    rest = [f"s{i}" for i in range(spatial)]
    kernel = [f"k{i}" for i in range(spatial)]
    in_channels, out_channels = x.shape[channel], call.shape[channel]
    depthwise = groups > 1 and groups == in_channels
    split_x = grouped(x, groups, channel)
    operands = [(split_x, [*batch, "g", "i", *rest])]
    own = ["g", "i", "o", *kernel] if transposed else ["g", "o", "i", *kernel]
    operands.append((weight, own))
    if bias is not None:
        operands.append((grouped(bias, groups, 0), ["g", "o"]))
    if groups > 1 and not depthwise:
        operands.append((Layout((groups,)), ["g"]))  # the number of groups is fixed
    coupling = flow.couple(*operands)
    shape = (*call.shape[:channel], groups, out_channels // groups, *call.shape[channel + 1 :])
    result = coupling.result([*batch, "g", "o", *rest], shape)
    # the spatial letters of the result are the output's own
    result = Layout(shape, result.factors, result.uniform - set(range(channel + 2, len(shape))))
    merged = flow.reshape(result, call.shape) if groups > 1 else ungrouped(result, channel, call.shape)
    geometry = {name: call[name] for name in ("stride", "padding", "dilation")} | {"groups": groups}
    _weigh(
        flow,
        call,
        "conv_transpose" if transposed else "conv",
        "weight",
        x.labels(channel),
        merged.labels(channel),
        **geometry,
    )
    if depthwise:
        labels = x.labels(channel)
        if labels is not None:
            flow.note_size(labels, 0)
    return merged


@rule("embedding")
def embedding(flow: Flow, call: Call) -> Outcome:
    """Rows of a table ``[V, D]`` looked up by number."""
    indices = call.layout("indices")
    flow.freeze(indices, "looks rows up by number")
    weight = flow.fix(call.layout("weight"), 0, "looks rows up by number")
    return weight.moved({1: len(call.shape) - 1}, call.shape)
