"""Recurrent layers, whose gates stack four (LSTM), three (GRU) or one copy of the hidden dimension."""

from typing import Any

import numpy as np

from reprune.pruning.flow import Flow
from reprune.pruning.layout import Factor, Layout, grouped
from reprune.pruning.rules.registry import Call, Outcome, rule


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(flow: Flow, call: Call) -> Outcome:
    """``[B, T, I]`` (or ``[T, B, I]``) to ``[B, T, D·H]``; index h is a row of every gate and a recurrent column."""
    x = call.layout("input") if "input" in call.arguments else call.layout("data")
    gates = 4 if "lstm" in str(call.node.target) else 3 if "gru" in str(call.node.target) else 1
    states = list(call["hx"]) if isinstance(call["hx"], list | tuple) else [call["hx"]]
    weights: list[Layout] = list(call["params"])
    directions = 2 if call["bidirectional"] else 1
    per_layer = len(weights) // (call["num_layers"] * directions)
    if per_layer not in (2, 4) or "batch_sizes" in call.arguments:  # projections, packed sequences
        for _, layout in call.tensors():
            flow.freeze(layout, "is left whole")
        return [Layout(shape or ()) for shape in call.shapes]
    x = flow.fix_all(x, range(len(x.shape) - 1), "runs along a dimension")
    for layer in range(call["num_layers"]):
        outputs = []
        for direction in range(directions):
            start = (layer * directions + direction) * per_layer
            outputs.append(_cell(flow, x, weights[start : start + per_layer], gates, states))
        live = all(labels is not None for labels in outputs)
        if not live:
            for labels in outputs:
                if labels is not None:
                    flow.couplings.freeze(labels, flow.reason("joins a dimension that stays whole"))
        rank = len(x.shape)
        x = Layout(
            (*x.shape[:-1], (call.shapes[0] or ())[-1]), (Factor((rank - 1,), np.concatenate(outputs)),) if live else ()
        )
    if call["num_layers"] * directions > 1:  # the states stack layers: their hidden dimensions are alike
        _unite_layers(flow, weights, per_layer, gates)
    hidden = _hidden(flow, weights[0], gates)
    rest = [_state(shape or (), hidden) for shape in call.shapes[1:]]
    return [x, *rest]


def _cell(flow: Flow, x: Layout, weights: list[Layout], gates: int, states: list[Any]) -> Any:
    letters = [f"d{i}" for i in range(len(x.shape) - 1)]
    operands: list[tuple[Layout, list[str]]] = [(x, [*letters, "i"])]
    operands += [(grouped(weights[0], gates, 0), ["g", "h", "i"]), (grouped(weights[1], gates, 0), ["g", "h", "j"])]
    operands += [(grouped(bias, gates, 0), ["g", "h"]) for bias in weights[2:]]
    if gates > 1:
        operands.append((Layout((gates,)), ["g"]))
    operands += [(state, [*(f"s{i}" for i in range(len(state.shape) - 1)), "h"]) for state in states]
    coupling = flow.couple(*operands)
    hidden, recurrent = coupling.labels("h"), coupling.labels("j")
    if hidden is None or recurrent is None:
        for labels in (hidden, recurrent):
            if labels is not None:
                flow.couplings.freeze(labels, flow.reason("needs every index of a dimension"))
        return None
    flow.couplings.unite(hidden, recurrent)
    return hidden


def _hidden(flow: Flow, weight: Layout, gates: int) -> Any:
    factor = grouped(weight, gates, 0).factor(1 if gates > 1 else 0) if weight.factor(0) else None
    if factor is None:
        return None
    return factor.grid[0] if len(factor.dims) == 2 and gates > 1 else factor.grid


def _unite_layers(flow: Flow, weights: list[Layout], per_layer: int, gates: int) -> None:
    first = _hidden(flow, weights[0], gates)
    for start in range(per_layer, len(weights), per_layer):
        other = _hidden(flow, weights[start], gates)
        if first is not None and other is not None:
            flow.couplings.unite(first, other)


def _state(shape: tuple[int, ...], hidden: Any) -> Layout:
    return Layout(shape, (Factor((len(shape) - 1,), hidden),) if hidden is not None else ())
