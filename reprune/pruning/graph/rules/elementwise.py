"""Operators that act on each element, or on elements at the same place in several tensors."""

from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.layout import Layout
from reprune.pruning.graph.rules.registry import Call, Outcome, rule

UNTAGGED = """
    dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout bernoulli rrelu rrelu_with_noise
    contiguous clone _to_copy detach alias lift_fresh_copy float half copy_ fill_ zero_ positive _conj
    resolve_conj resolve_neg _assert_tensor_metadata where nan_to_num masked_fill square
    hardswish hardsigmoid hardtanh relu6 selu celu elu mish silu gelu softplus softsign softshrink hardshrink tanhshrink
    multiply subtract divide floor_divide absolute negative special_expit arccos arctan fix __and__ __or__
    greater greater_equal less less_equal not_equal
    leaky_relu logsigmoid log_sigmoid threshold complex polar real imag angle conj
"""
"""Elementwise operators that ATen does not tag pointwise, or not in every version."""


@rule(*UNTAGGED.split())
def elementwise(flow: Flow, call: Call) -> Outcome:
    """Broadcast all tensor arguments against each other; also the rule of every operator that ATen tags pointwise."""
    if call.node.meta.get("val") is None:
        return None
    shape = call.shape
    letters = [f"d{i}" for i in range(len(shape))]
    operands = [(layout, letters[len(letters) - len(layout.shape) :]) for _, layout in call.tensors()]
    return flow.couple(*operands).result(letters, shape)


@rule("to", "type_as")
def cast(flow: Flow, call: Call) -> Outcome:
    """Another tensor, where there is one, gives only its type and device."""
    return call.layout("self")


@rule("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like")
def like(flow: Flow, call: Call) -> Outcome:
    """A constant tensor in the shape of another follows its labels."""
    return call.layout("self")


@rule("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "scalar_tensor", "new_empty", "empty")
def constant(flow: Flow, call: Call) -> Outcome:
    """A tensor of one value looks the same along each of its dimensions."""
    return Layout(call.shape, uniform=frozenset(d for d, n in enumerate(call.shape) if n > 1))


@rule("prelu")
def prelu(flow: Flow, call: Call) -> Outcome:
    """PReLU scales channels, dimension 1, by a weight of shape ``[C]`` or ``[1]``."""
    x = call.layout("self")
    letters = [f"d{i}" for i in range(len(x.shape))]
    return flow.couple((x, letters), (call.layout("weight"), letters[1:2])).result(letters, call.shape)


@rule("glu")
def glu(flow: Flow, call: Call) -> Outcome:
    """A gated linear unit multiplies the first half of a dimension by a function of the second."""
    from reprune.pruning.graph.rules.shape import parts

    x = call.layout("self")
    half = x.shape[call["dim"]] // 2
    return parts(flow, x, call["dim"], [half, half])[0]
