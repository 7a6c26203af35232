"""Scaled dot-product attention: whole heads, key-value heads shared by groups of query heads."""

from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.layout import Layout, grouped
from reprune.pruning.graph.rules.registry import Call, Outcome, rule


@rule("scaled_dot_product_attention")
def attention(flow: Flow, call: Call) -> Outcome:
    """``softmax(q kᵀ) v`` of q ``[..., H, L, E]``, k ``[..., K, S, E]``, v ``[..., K, S, V]``, H a multiple of K."""
    q, k, v = (call.layout(name) for name in ("query", "key", "value"))
    rank = len(q.shape)
    batch = [f"b{i}" for i in range(rank - 2)]
    shared = call.get("enable_gqa") and rank >= 3 and q.shape[-3] != k.shape[-3]
    if call.get("scale") is None and q.factor(rank - 1) is not None:  # Python computes the scale from E
        q = flow.fix(q, rank - 1, "scales by the size of a dimension")
    out = [*batch, "l", "v"]
    shape = call.shape
    ours = [*batch, "l", "e"]
    if shared:
        repeats = q.shape[-3] // k.shape[-3]
        q = grouped(q, k.shape[-3], rank - 3)
        ours = [*batch, "r", "l", "e"]
        out = [*batch, "r", "l", "v"]
        shape = (*shape[:-3], k.shape[-3], repeats, *shape[-2:])
    operands = [(q, ours), (k, [*batch, "s", "e"]), (v, [*batch, "s", "v"])]
    mask = call.get("attn_mask")
    if isinstance(mask, Layout):
        letters = [*batch, "l", "s"]
        if shared:
            mask, letters = grouped(mask, k.shape[-3], rank - 3) if mask.shape[-3] > 1 else mask, [*batch, "l", "s"]
            if len(mask.shape) > len(letters):
                letters = [*batch, "r", "l", "s"]
        operands.append((mask, letters[len(letters) - len(mask.shape) :]))
    for x in (q, k, v):
        flow.note_heads(x)
    coupling = flow.couple(*operands)
    if (labels := coupling.labels("e")) is not None:
        flow.couplings.freeze(labels, flow.reason("scales by the size of a dimension"))
    result = coupling.result(out, shape)
    return flow.reshape(result, call.shape) if shared else result
