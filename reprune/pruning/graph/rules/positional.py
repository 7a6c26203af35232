"""Operators that address indices by number, which a cut would renumber."""

import numpy as np
import torch

from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.layout import Factor, Layout
from reprune.pruning.graph.rules.registry import Call, Outcome, dimension, dimensions, rule

WHY = "addresses indices by number"


@rule("pad", "constant_pad_nd")
def pad(flow: Flow, call: Call) -> Outcome:
    """Put constant borders around dimensions, of sizes that a cut does not change; other modes mirror indices."""
    x = call.layout("self")
    if call.get("mode") not in (None, "constant"):
        return _whole(flow, call, x, [len(x.shape) - 1 - i // 2 for i, n in enumerate(call["pad"]) if n])
    factors = []
    borders = {len(x.shape) - 1 - i: call["pad"][2 * i : 2 * i + 2] for i in range(len(call["pad"]) // 2)}
    padded = [dim for dim, (before, after) in borders.items() if before or after]
    for dim in padded:
        if min(borders[dim]) < 0 or (x.factor(dim) is not None and x.labels(dim) is None):
            x = flow.fix(x, dim, WHY)
    for factor in x.factors:
        if factor.dims[0] not in padded:
            factors.append(factor)
            continue
        sides = [flow.couplings.fresh(n) for n in borders[factor.dims[0]]]
        flow.couplings.freeze(np.concatenate(sides), flow.reason("adds indices"))
        factors.append(Factor(factor.dims, np.concatenate([sides[0], factor.grid, sides[1]])))
    return Layout(call.shape, tuple(factors), x.uniform - set(padded))


FOURIER = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "ifft2", "rfft2", "irfft2"]
FOURIER += ["fftn", "ifftn", "rfftn", "irfftn", "fftshift", "ifftshift"]


@rule(*(f"fft_{name}" for name in FOURIER), "rot90")
def transform(flow: Flow, call: Call) -> Outcome:
    """Mix or turn the named dimensions; the others pass through."""
    x = call.layout("self")
    dims = dimensions(call["dims"] if "dims" in call.arguments else call["dim"], len(x.shape))
    return _whole(flow, call, x, dims, "mixes the indices of a dimension")


@rule("roll", "cumsum", "cumprod", "logcumsumexp", "index_select", "diff")
def along_one(flow: Flow, call: Call) -> Outcome:
    """Shift, accumulate or pick along named dimensions."""
    name, x = call.tensors()[0]
    dim = next(call[key] for key in ("dims", "dim", "dimension") if key in call.arguments)
    for other, layout in call.tensors()[1:]:
        assert other != name
        flow.freeze(layout, WHY)
    return _whole(flow, call, x, dimensions(dim, len(x.shape)))


@rule("sort", "topk", "argsort", "kthvalue", "mode", "median", "cummax", "cummin")
def ranked(flow: Flow, call: Call) -> Outcome:
    """Order the indices of a dimension; every result is as long, or has it ranked."""
    x = call.layout("self")
    shape = call.shapes[0] if isinstance(call.node.meta["val"], list | tuple) else call.shape
    if call.get("dim") is None or shape is None or len(shape) != len(x.shape):
        return _opaque(flow, call)
    dim = dimension(call["dim"], len(x.shape))
    x = flow.fix(x, dim, WHY)
    result = Layout(shape, x.factors, x.uniform - {dim})
    return [result] * len(call.shapes) if isinstance(call.node.meta["val"], list | tuple) else result


@rule("argmax", "argmin")
def place_of_extreme(flow: Flow, call: Call) -> Outcome:
    """Return the number of an index."""
    x = call.layout("self")
    if call.get("dim") is None:
        return _opaque(flow, call)
    dim = dimension(call["dim"], len(x.shape))
    x = flow.fix(x, dim, WHY)
    if call["keepdim"]:
        return Layout(call.shape, x.factors, x.uniform - {dim})
    places = {d: d if d < dim else d - 1 for d in range(len(x.shape)) if d != dim}
    return Layout(x.shape, x.factors, x.uniform - {dim}).moved(places, call.shape)


@rule("index")
def index(flow: Flow, call: Call) -> Outcome:
    """Look indices up by tensors of numbers; dimensions that are not looked up pass through."""
    x, indices = call.layout("self"), call["indices"]
    for _, layout in call.tensors()[1:]:
        flow.freeze(layout, WHY)
    dim = 0
    looked_up: list[int] = []
    for each, number in zip(indices, call.node.args[1], strict=True):  # type: ignore[arg-type]
        mask = each is not None and number.meta["val"].dtype == torch.bool  # covers as many dimensions as it has
        end = dim + (len(each.shape) if mask else 1)
        looked_up += range(dim, end) if each is not None else []
        dim = end
    x = flow.fix_all(x, looked_up, WHY)
    together = looked_up == list(range(looked_up[0], looked_up[-1] + 1))
    depth = len(call.shape) - len(x.shape) + len(looked_up)
    if not together or depth < 0:
        flow.freeze(x, WHY)
        return Layout(call.shape)
    first, last = looked_up[0], looked_up[-1]
    places = {d: d if d < first else d - len(looked_up) + depth for d in range(len(x.shape)) if not first <= d <= last}
    if any(call.shape[place] != x.shape[d] for d, place in places.items()):
        flow.freeze(x, WHY)
        return Layout(call.shape)
    return x.moved(places, call.shape)


@rule("sym_size")
def size(flow: Flow, call: Call) -> Outcome:
    """Read the size of a dimension that depends on values; it is one number, of the example inputs."""
    flow.fix(call.layout("self"), call["dim"], "reads the size of a dimension")
    return None


@rule("tril", "triu", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad2d")
def over_space(flow: Flow, call: Call) -> Outcome:
    """Act on places in the last dimensions."""
    name, x = call.tensors()[0]
    rank, count = len(x.shape), next((int(c) for c in reversed(str(call.node.target)) if c.isdigit()), 2)
    assert name
    return _whole(flow, call, x, range(max(rank - count, 0), rank))


@rule("unfold")
def sliding(flow: Flow, call: Call) -> Outcome:
    """Slide a window along a dimension, which stays whole; the windows are a new last dimension."""
    x = call.layout("self")
    dim = dimension(call["dimension"], len(x.shape))
    x = flow.fix(x, dim, "slides along a dimension")
    return Layout(call.shape, x.factors, x.uniform - {dim})


@rule("im2col")
def patches(flow: Flow, call: Call) -> Outcome:
    """``[..., C, H, W]`` to ``[..., C·k, L]``: each channel becomes as many as its patch has places."""
    x = call.layout("self")
    channel = len(x.shape) - 3
    x = flow.alone(flow.fix_all(x, [channel + 1, channel + 2], "slides along a dimension"), channel)
    times = call.shape[channel] // x.shape[channel]
    factors = tuple(Factor(f.dims, np.repeat(f.grid, times)) if channel in f.dims else f for f in x.factors)
    return Layout(call.shape, factors, x.uniform - {channel})


@rule("col2im")
def overlaid(flow: Flow, call: Call) -> Outcome:
    """``[..., C·k, L]`` to ``[..., C, H, W]``: the places of a channel's patch go together."""
    x = call.layout("self")
    channel = len(x.shape) - 2
    x = flow.alone(flow.fix(x, channel + 1, "slides along a dimension"), channel)
    factors = []
    for f in x.factors:
        grid = f.grid
        if channel in f.dims:
            places = grid.reshape(call.shape[channel], -1)
            flow.couplings.unite_along(places, 1)
            grid = places[:, 0]
        factors.append(Factor(f.dims, grid))
    return Layout(call.shape, tuple(factors), x.uniform - {channel})


@rule("gather")
def gather(flow: Flow, call: Call) -> Outcome:
    """Look values up along a dimension by number; the other dimensions are alike."""
    x, index = _addressed(flow, call, "self", "index")
    letters = [f"d{d}" for d in range(len(x.shape))]
    dim = dimension(call["dim"], len(x.shape))
    ours = [letter if d != dim else "looked up" for d, letter in enumerate(letters)]
    return flow.couple((x, ours), (index, letters)).result(letters, call.shape)


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(flow: Flow, call: Call) -> Outcome:
    """Write values along a dimension by number; the other dimensions are alike."""
    names = ["self", "index", *(["src"] if isinstance(call.get("src"), Layout) else [])]
    x, *others = _addressed(flow, call, *names)
    dim = dimension(call["dim"], len(x.shape))
    letters = [f"d{d}" for d in range(len(x.shape))]
    ours = [letter if d != dim else "written" for d, letter in enumerate(letters)]
    return flow.couple((x, letters), *((each, ours) for each in others)).result(letters, call.shape)


def _addressed(flow: Flow, call: Call, *names: str) -> list[Layout]:
    """Return tensors with the addressed dimension whole, and those along which only a part is addressed."""
    tensors = [call.layout(name) for name in names]
    dim = dimension(call["dim"], len(tensors[0].shape))
    partial = [d for d in range(len(tensors[0].shape)) if len({x.shape[d] for x in tensors}) > 1]
    return [flow.fix_all(x, sorted({dim, *partial}), WHY) for x in tensors]


def _whole(flow: Flow, call: Call, x: Layout, dims: "list[int] | range", why: str = WHY) -> Outcome:
    """Keep some dimensions whole; the others pass through."""
    if len(call.shape) != len(x.shape):
        return _opaque(flow, call)
    changed = {d for d, n in enumerate(call.shape) if n != x.shape[d]} | set(dims)
    return Layout(call.shape, flow.fix_all(x, sorted(changed), why).factors, x.uniform - changed)


def _opaque(flow: Flow, call: Call) -> Outcome:
    for _, layout in call.tensors():
        flow.freeze(layout, WHY)
    if isinstance(call.node.meta["val"], list | tuple):
        return [Layout(shape or ()) for shape in call.shapes]
    return Layout(call.shape)
