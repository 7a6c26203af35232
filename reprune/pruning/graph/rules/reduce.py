"""Reductions over dimensions, and pooling over space."""

from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.layout import Layout
from reprune.pruning.graph.rules.registry import Call, Outcome, dimension, dimensions, rule


@rule(
    "sum",
    "mean",
    "amax",
    "amin",
    "max",
    "min",
    "prod",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "logsumexp",
    "any",
    "all",
    "linalg_vector_norm",
    "norm",
)
def reduce(flow: Flow, call: Call) -> Outcome:
    """Reduce dimensions: what a cut removes no longer takes part."""
    if len(call.tensors()) == 2:  # max(a, b)
        from reprune.pruning.graph.rules.elementwise import elementwise

        return elementwise(flow, call)
    name, x = call.tensors()[0]
    dims = dimensions(call.get("dim"), len(x.shape))
    for dim in dims:
        factor = x.factor(dim)
        if factor is not None and len(factor.dims) > 1:
            x = flow.fix(x, dim, "reduces a dimension")
    multiple = isinstance(call.node.meta["val"], list | tuple)
    shape = (call.shapes[0] or ()) if multiple else call.shape
    for dim in dims:
        flow.note_reduction(name, x, dim)
    if multiple and any(x.factor(d) is not None for d in dims) and "var" not in str(call.node.target):
        x = flow.fix_all(x, dims, "returns the place of an index")
    left = [d for d in range(len(x.shape)) if d not in dims]
    places = left if len(shape) == len(x.shape) else list(range(len(left)))
    factors = tuple(f for f in x.factors if not set(f.dims) & set(dims))
    result = Layout(x.shape, factors, x.uniform - set(dims)).moved(dict(zip(left, places, strict=True)), shape)
    return [result] * len(call.shapes) if multiple else result


@rule("cosine_similarity")
def cosine_similarity(flow: Flow, call: Call) -> Outcome:
    """Compare vectors along a dimension: what is zero in both adds nothing."""
    tensors = [x for _, x in call.tensors()]
    rank = max(len(x.shape) for x in tensors)
    letters = [f"d{i}" for i in range(rank)]
    left = [x for i, x in enumerate(letters) if i != dimension(call["dim"], rank)]
    return flow.couple(*((x, letters[rank - len(x.shape) :]) for x in tensors)).result(left, call.shape)


@rule(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool2d_with_indices",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "upsample_linear1d",
    "upsample_trilinear3d",
    "_adaptive_avg_pool2d",
    "_upsample_nearest_exact2d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
    "grid_sampler",
    "grid_sampler_2d",
    "lp_pool2d",
)
def pool(flow: Flow, call: Call) -> Outcome:
    """Slide over or resize space, ``[N, C, ...]`` or ``[C, ...]``; channels go through untouched."""
    name = call.node.target._schema.name  # type: ignore[union-attr]
    x = call.tensors()[0][1]
    spatial = int(next((c for c in reversed(name) if c.isdigit()), "2"))
    spatial = min(spatial, len(x.shape) - 1)
    space = range(len(x.shape) - spatial, len(x.shape))
    x = flow.fix_all(x, space, "slides along a dimension")
    for _, other in call.tensors()[1:]:
        flow.freeze(other, "addresses indices by number")
    multiple = isinstance(call.node.meta["val"], list | tuple)
    shape = (call.shapes[0] or ()) if multiple else call.shape
    result = Layout(shape, x.factors, x.uniform - set(space))
    return [result] * len(call.shapes) if multiple else result
