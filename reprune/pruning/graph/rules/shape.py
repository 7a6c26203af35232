"""Operators that rearrange indices without computing."""

from collections.abc import Sequence
from itertools import accumulate
from math import gcd

import numpy as np

from reprune.pruning.graph.flow import Flow, Merge, module_of
from reprune.pruning.graph.layout import Factor, Layout
from reprune.pruning.graph.rules.registry import Call, Outcome, dimension, dimensions, rule


@rule(
    "view",
    "reshape",
    "_unsafe_view",
    "flatten",
    "unflatten",
    "view_as",
    "reshape_as",
    "_reshape_alias",
    "squeeze",
    "unsqueeze",
    "squeeze_",
    "unsqueeze_",
)
def view(flow: Flow, call: Call) -> Outcome:
    """Merge and split dimensions; elements keep their order."""
    return flow.reshape(call.layout("self"), call.shape)


@rule("view_as_complex", "view_as_real")
def complex_view(flow: Flow, call: Call) -> Outcome:
    """Two numbers, real and imaginary, in the last dimension become one, or one becomes two."""
    x = call.layout("self")
    if len(call.shape) < len(x.shape):
        x = flow.fix(x, len(x.shape) - 1, "needs both numbers")
    return Layout(
        call.shape, x.factors, x.uniform - {len(x.shape) - 1} if len(call.shape) < len(x.shape) else x.uniform
    )


@rule("pixel_unshuffle")
def pixel_unshuffle(flow: Flow, call: Call) -> Outcome:
    """Move blocks of r x r pixels into channels: ``[..., C, H·r, W·r]`` to ``[..., C·r², H, W]``."""
    x = call.layout("self")
    r, batch, (c, h, w) = call["downscale_factor"], x.shape[:-3], x.shape[-3:]
    rank = len(batch)
    steps = flow.reshape(x, (*batch, c, h // r, r, w // r, r))
    return flow.reshape(_permuted(steps, [*range(rank), rank, rank + 2, rank + 4, rank + 1, rank + 3]), call.shape)


@rule("pixel_shuffle")
def pixel_shuffle(flow: Flow, call: Call) -> Outcome:
    """Move channels into blocks of r x r pixels: ``[..., C·r², H, W]`` to ``[..., C, H·r, W·r]``."""
    x = call.layout("self")
    r, batch, (c, h, w) = call["upscale_factor"], x.shape[:-3], x.shape[-3:]
    rank = len(batch)
    steps = flow.reshape(x, (*batch, c // r**2, r, r, h, w))
    order = [*range(rank), rank, rank + 3, rank + 1, rank + 4, rank + 2]
    return flow.reshape(flow.fix_all(_permuted(steps, order), [rank + 2, rank + 4], "needs whole pixels"), call.shape)


@rule("permute")
def permute(flow: Flow, call: Call) -> Outcome:
    """Reorder dimensions."""
    x = call.layout("self")
    return _permuted(x, [dimension(d, len(x.shape)) for d in call["dims"]])


@rule("transpose", "transpose_", "swapaxes", "swapdims")
def transpose(flow: Flow, call: Call) -> Outcome:
    """Swap two dimensions."""
    x = call.layout("self")
    names = ("dim0", "dim1") if "dim0" in call.arguments else ("axis0", "axis1")
    order = list(range(len(x.shape)))
    i, j = (dimension(call[name], len(x.shape)) for name in names)
    order[i], order[j] = order[j], order[i]
    return _permuted(x, order)


@rule("t", "numpy_T", "mT", "adjoint")
def t(flow: Flow, call: Call) -> Outcome:
    """Swap the last two dimensions."""
    x = call.layout("self")
    return _permuted(x, [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2] if len(x.shape) > 1 else [0])


@rule("movedim")
def movedim(flow: Flow, call: Call) -> Outcome:
    """Move dimensions to other places."""
    x = call.layout("self")
    rank = len(x.shape)
    source, target = ([dimension(d, rank) for d in _listed(call[name])] for name in ("source", "destination"))
    rest = iter([d for d in range(rank) if d not in source])
    return _permuted(x, [source[target.index(d)] if d in target else next(rest) for d in range(rank)])


def _listed(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _permuted(x: Layout, order: Sequence[int]) -> Layout:
    return x.moved({source: place for place, source in enumerate(order)}, [x.shape[d] for d in order])


@rule("expand", "expand_as", "broadcast_to")
def expand(flow: Flow, call: Call) -> Outcome:
    """Repeat dimensions of size one; the new indices all hold the same."""
    x, shape = call.layout("self"), call.shape
    shift = len(shape) - len(x.shape)
    moved = x.moved({d: d + shift for d in range(len(x.shape))}, shape)
    sizes = (1,) * shift + x.shape
    return Layout(shape, moved.factors, moved.uniform | {d for d, n in enumerate(shape) if n != sizes[d]})


@rule("flip", "fliplr", "flipud")
def flip(flow: Flow, call: Call) -> Outcome:
    """Reverse dimensions; what is left after a cut is still reversed."""
    x = call.layout("self")
    name = str(call.node.target)
    dims = [1] if "fliplr" in name else [0] if "flipud" in name else dimensions(call["dims"], len(x.shape))
    return Layout(
        x.shape,
        tuple(Factor(f.dims, np.flip(f.grid, tuple(f.axis(d) for d in dims if d in f.dims))) for f in x.factors),
        x.uniform,
    )


@rule("cat", "concat", "concatenate")
def cat(flow: Flow, call: Call) -> Outcome:
    """Put tensors one after another; the other dimensions are alike."""
    tensors: list[Layout] = [x for x in call["tensors"] if x.shape != (0,)]
    rank = len(call.shape)
    dim = dimension(call["dim"] if call.get("dim") is not None else 0, rank)
    if not all(x.factor(dim) is None or len(x.factor(dim).dims) == 1 for x in tensors):  # type: ignore[union-attr]
        tensors = [flow.alone(x, dim) for x in tensors]
    letters = [[f"cat{i}" if d == dim else f"d{d}" for d in range(rank)] for i in range(len(tensors))]
    coupling = flow.couple(*zip(tensors, letters, strict=True))
    names = [f"d{d}" if d != dim else "cat" for d in range(rank)]
    others = coupling.result([*names], call.shape)
    parts = []
    for i, x in enumerate(tensors):
        labels = coupling.labels(f"cat{i}")
        if labels is None:
            labels = flow.couplings.fresh(x.shape[dim])
            if dim in x.uniform:  # a constant is as long as Python makes it
                flow.note_size(labels, 0)
            else:
                flow.couplings.freeze(labels, flow.reason("joins a dimension that stays whole"))
        parts.append(labels)
    own = () if all(x.is_fixed(dim) or x.shape[dim] == 1 for x in tensors) else (Factor((dim,), np.concatenate(parts)),)
    return Layout(call.shape, others.factors + own, others.uniform)


@rule("stack")
def stack(flow: Flow, call: Call) -> Outcome:
    """Put tensors side by side along a new dimension."""
    tensors: list[Layout] = call["tensors"]
    dim = dimension(call["dim"], len(call.shape))
    letters = [f"d{d}" for d in range(len(call.shape) - 1)]
    joined = flow.couple(*((x, letters) for x in tensors)).result(letters, tensors[0].shape)
    return joined.moved({d: d if d < dim else d + 1 for d in range(len(letters))}, call.shape)


def parts(flow: Flow, x: Layout, dim: int, sizes: Sequence[int]) -> list[Layout]:
    """Cut a dimension into parts whose sizes stay in proportion.

    The dimension is a grid of units, as long as the greatest common divisor of the sizes: index i of every unit goes or
    stays together, so that every part shrinks alike. Whether the module's Python follows, a trial will show.
    """
    dim = dimension(dim, len(x.shape))
    factor = x.factor(dim)
    if factor is not None and len(factor.dims) > 1:
        x = flow.fix(x, dim, "cuts parts")
    labels = x.labels(dim)
    starts = [0, *accumulate(sizes)]
    if labels is not None:
        flow.couplings.unite_along(labels.reshape(-1, gcd(*sizes, x.shape[dim])), 0)
    result = []
    for size, start in zip(sizes, starts, strict=False):
        factors = tuple(f for f in x.factors if dim not in f.dims)
        if labels is not None:
            factors += (Factor((dim,), labels[start : start + size]),)
        result.append(flow.normalized(Layout((*x.shape[:dim], size, *x.shape[dim + 1 :]), factors, x.uniform)))
    return result


@rule("chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split")
def split(flow: Flow, call: Call) -> Outcome:
    """Cut a dimension into parts."""
    x = call.layout("self")
    dim = dimension(call["dim"], len(x.shape))
    sizes = [shape[dim] for shape in call.shapes if shape is not None]
    result = parts(flow, x, dim, sizes) if gcd(*sizes) > 1 else _pieces(flow, x, dim, sizes)
    for part in result:
        if (labels := part.labels(dim)) is not None:
            flow.note_size(labels, 0)
            flow.merges.append(Merge(module_of(call.node), labels))
    return result


def _pieces(flow: Flow, x: Layout, dim: int, sizes: Sequence[int]) -> list[Layout]:
    """Cut a dimension into parts that have no size in common: each shrinks on its own, if its attribute does."""
    x = flow.alone(x, dim)
    labels = x.labels(dim)
    rest = tuple(f for f in x.factors if dim not in f.dims)
    result = []
    for size, end in zip(sizes, accumulate(sizes), strict=True):
        own = (Factor((dim,), labels[end - size : end]),) if labels is not None else ()
        result.append(flow.normalized(Layout((*x.shape[:dim], size, *x.shape[dim + 1 :]), rest + own, x.uniform)))
    return result


@rule("unbind")
def unbind(flow: Flow, call: Call) -> Outcome:
    """Take a dimension apart; it keeps its size."""
    x = call.layout("self")
    dim = dimension(call["dim"], len(x.shape))
    return [_selected(flow, x, dim, shape or ()) for shape in call.shapes]


@rule("select")
def select(flow: Flow, call: Call) -> Outcome:
    """Take one index of a dimension, which keeps its size."""
    x = call.layout("self")
    dim = dimension(call["dim"], len(x.shape))
    return _selected(flow, x, dim, call.shape)


def _selected(flow: Flow, x: Layout, dim: int, shape: Sequence[int]) -> Layout:
    x = flow.fix(x, dim, "takes an index by number")
    return x.moved({d: d if d < dim else d - 1 for d in range(len(x.shape)) if d != dim}, shape)


@rule("slice", "narrow")
def slice_(flow: Flow, call: Call) -> Outcome:
    """Take a range of a dimension, or every n-th index. Taking all of it does nothing."""
    x = call.layout("self")
    dim = dimension(call["dim"], len(x.shape))
    size, taken = x.shape[dim], call.shape[dim]
    step, start = call.get("step") or 1, call["start"] or 0
    start = max(start + size, 0) if start < 0 else min(start, size)
    if taken == size:
        return x
    if step == 1:
        sizes = [n for n in (start, taken, size - start - taken) if n]
        return parts(flow, x, dim, sizes)[1 if start else 0] if taken else Layout(call.shape)
    labels = x.labels(dim)
    if labels is None or size % step:
        return Layout(call.shape, flow.fix(x, dim, "takes a range of indices").factors, x.uniform)
    flow.couplings.unite_along(labels.reshape(-1, step), 1)
    factors = (*(f for f in x.factors if dim not in f.dims), Factor((dim,), labels[start::step][:taken]))
    return flow.normalized(Layout(call.shape, factors, x.uniform))


@rule("repeat", "tile")
def repeat(flow: Flow, call: Call) -> Outcome:
    """Put copies of a dimension one after another."""
    x, shape = call.layout("self"), call.shape
    shift = len(shape) - len(x.shape)
    moved = x.moved({d: d + shift for d in range(len(x.shape))}, shape)
    before = (1,) * shift + x.shape
    times = [n // m for n, m in zip(shape, before, strict=True)]
    factors = tuple(Factor(f.dims, np.tile(f.grid, [times[d] for d in f.dims])) for f in moved.factors)
    grown = {d for d, n in enumerate(shape) if n > 1 and before[d] == 1}
    return Layout(shape, factors, moved.uniform | grown)


@rule("repeat_interleave")
def repeat_interleave(flow: Flow, call: Call) -> Outcome:
    """Repeat each index of a dimension in place."""
    x = call.layout("self")
    times = call.get("repeats")
    if not isinstance(times, int) or call.get("dim") is None:
        flow.freeze(x, "repeats by number")
        return Layout(call.shape)
    dim = dimension(call["dim"], len(x.shape))
    factors = tuple(
        Factor(f.dims, np.repeat(f.grid, times, axis=f.axis(dim))) if dim in f.dims else f for f in x.factors
    )
    return Layout(call.shape, factors, x.uniform)
