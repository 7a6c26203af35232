"""Normalisations: channels coupled to scales, shifts and running statistics, some of them mixed across channels."""

from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.layout import Layout, grouped
from reprune.pruning.graph.rules.registry import Call, Outcome, dimension, rule


@rule("batch_norm", "instance_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def batch_norm(flow: Flow, call: Call) -> Outcome:
    """Each channel, dimension 1, is normalised on its own; by the statistics of the input, in training mode."""
    x = call.layout("input")
    letters = ["n", "c", *(f"s{i}" for i in range(len(x.shape) - 2))]
    owned = [(layout, ["c"]) for name, layout in call.tensors() if name != "input" and len(layout.shape) == 1]
    if call.get("training") or call.get("use_input_stats"):
        over = [d for d in range(len(x.shape)) if d != 1 and x.factor(d) is not None]
        for dim in over:
            if len(over) > 1 or x.labels(dim) is None:
                x = flow.fix(x, dim, "normalises several dimensions together")
    result = flow.couple((x, letters), *owned).result(letters, x.shape)
    if call.get("training") or call.get("use_input_stats"):
        for dim in (d for d in range(len(x.shape)) if d != 1):
            flow.note_reduction("input", result, dim)
    return result if _single(call) else [result, None, None]


def _single(call: Call) -> bool:
    return not isinstance(call.node.meta["val"], list | tuple)


@rule("layer_norm", "rms_norm", "_fused_rms_norm", "native_layer_norm")
def layer_norm(flow: Flow, call: Call) -> Outcome:
    """The last dimensions are normalised together: a cut changes their statistics to those of what is kept."""
    x = call.layout("input")
    rank, over = len(x.shape), len(call["normalized_shape"])
    if over > 1:
        x = flow.fix_all(x, range(rank - over, rank), "normalises several dimensions together")
    elif (factor := x.factor(rank - 1)) is not None and len(factor.dims) > 1:
        x = flow.fix(x, rank - 1, "normalises each head")
    letters = [f"d{i}" for i in range(rank)]
    owned = [
        (call.layout(name), letters[rank - over :]) for name in ("weight", "bias") if isinstance(call.get(name), Layout)
    ]
    result = flow.couple((x, letters), *owned).result(letters, x.shape)
    flow.note_reduction("input", result, rank - 1)
    labels = result.labels(rank - 1)
    if labels is not None:
        flow.note_size(labels, 0)
    return result if _single(call) else [result, None, None]


@rule("group_norm", "native_group_norm")
def group_norm(flow: Flow, call: Call) -> Outcome:
    """Groups of channels, dimension 1, are normalised together; their number stays unless each holds one channel."""
    x = flow.alone(call.layout("input"), 1)
    groups = call["num_groups"] if "num_groups" in call.arguments else call["group"]
    letters = ["n", "g", "c", *(f"s{i}" for i in range(len(x.shape) - 2))]
    owned = [
        (grouped(call.layout(name), groups, 0), ["g", "c"])
        for name in ("weight", "bias")
        if isinstance(call.get(name), Layout)
    ]
    single = groups == x.shape[1]
    if groups > 1 and not single:
        owned.append((Layout((groups,)), ["g"]))
    shape = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    result = flow.reshape(flow.couple((grouped(x, groups, 1), letters), *owned).result(letters, shape), x.shape)
    flow.note_reduction("input", result, 1)
    labels = result.labels(1)
    if single and labels is not None:
        flow.note_size(labels, 0)
    return result


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax", "softmin")
def softmax(flow: Flow, call: Call) -> Outcome:
    """Every index of the dimension changes the others: it stays whole."""
    x = call.layout("self")
    return flow.fix(x, dimension(call["dim"], len(x.shape)), "normalises over a dimension")
