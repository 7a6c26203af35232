"""Recurrent layers, whose gates stack four (LSTM), three (GRU) or one copy of the hidden dimension."""

import numpy as np

from reprune.pruning.graph.flow import Flow
from reprune.pruning.graph.layout import Factor, Layout, grouped
from reprune.pruning.graph.rules.registry import Call, Outcome, rule
from reprune.pruning.graph.union_find import Labels


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(flow: Flow, call: Call) -> Outcome:
    """``[B, T, I]`` (or ``[T, B, I]``) to ``[B, T, D·H]``; index h is a row of every gate and a recurrent column.

    With projections, ``[P, H]`` after each step, what comes out and recurs is P wide, and H stays inside.
    """
    x = call.layout("input") if "input" in call.arguments else call.layout("data")
    gates = _gates(call)
    states = _states(call)
    weights: list[Layout] = list(call["params"])
    directions = 2 if call["bidirectional"] else 1
    per_layer = len(weights) // (call["num_layers"] * directions)
    if "batch_sizes" in call.arguments:  # packed sequences
        for _, layout in call.tensors():
            flow.freeze(layout, "is left whole")
        return [Layout(shape or ()) for shape in call.shapes]
    x = flow.fix_all(x, range(len(x.shape) - 1), "runs along a dimension")
    cells = []
    for layer in range(call["num_layers"]):
        outputs = []
        for direction in range(directions):
            start = (layer * directions + direction) * per_layer
            cell = _cell(flow, x, weights[start : start + per_layer], gates, states)
            cells.append(cell)
            outputs.append(cell[0])
        alive = [labels for labels in outputs if labels is not None]
        live = len(alive) == directions
        for labels in alive if not live else ():
            flow.couplings.freeze(labels, flow.reason("joins a dimension that stays whole"))
        rank = len(x.shape)
        x = Layout(
            (*x.shape[:-1], (call.shapes[0] or ())[-1]), (Factor((rank - 1,), np.concatenate(alive)),) if live else ()
        )
    return [x, *(_stacked(flow, cells, each, shape or ()) for each, shape in enumerate(call.shapes[1:]))]


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def cell(flow: Flow, call: Call) -> Outcome:
    """One step: ``[B, I]`` and the states ``[B, H]`` to the next states."""
    names = [name for name in ("w_ih", "w_hh", "b_ih", "b_hh") if isinstance(call.get(name), Layout)]
    weights = [call.layout(name) for name in names]
    labels = _cell(flow, call.layout("input"), weights, _gates(call), _states(call))
    if isinstance(call.node.meta["val"], list | tuple):
        return [_state(shape or (), each) for shape, each in zip(call.shapes, labels, strict=True)]
    return _state(call.shape, labels[0])


def _gates(call: Call) -> int:
    return 4 if "lstm" in str(call.node.target) else 3 if "gru" in str(call.node.target) else 1


def _states(call: Call) -> list[Layout]:
    return list(call["hx"]) if isinstance(call["hx"], list | tuple) else [call["hx"]]


Cell = tuple[Labels | None, Labels | None]
"""The labels of what a cell gives out, and of what it keeps inside; without projection they are the same."""


def _cell(flow: Flow, x: Layout, weights: list[Layout], gates: int, states: list[Layout]) -> Cell:
    biases = [weight for weight in weights[2:] if len(weight.shape) == 1]
    projection = next((weight for weight in weights[2:] if len(weight.shape) == 2), None)
    out = "h" if projection is None else "p"
    letters = [f"d{i}" for i in range(len(x.shape) - 1)]
    split = [grouped(weight, gates, 0) for weight in (weights[0], weights[1], *biases)]
    flow.constants |= {id(each) for each in split}
    operands: list[tuple[Layout, list[str]]] = [(x, [*letters, "i"])]
    operands += [(split[0], ["g", "h", "i"]), (split[1], ["g", "h", "j"]), *((each, ["g", "h"]) for each in split[2:])]
    if projection is not None:
        operands.append((projection, ["p", "h"]))
    if gates > 1:
        operands.append((Layout((gates,)), ["g"]))
    for state, letter in zip(states, (out, "h"), strict=False):
        operands.append((state, [*(f"s{i}" for i in range(len(state.shape) - 1)), letter]))
    coupling = flow.couple(*operands)
    given, recurrent, inside = coupling.labels(out), coupling.labels("j"), coupling.labels("h")
    if given is None or recurrent is None:
        for labels in (given, recurrent):
            if labels is not None:
                flow.couplings.freeze(labels, flow.reason("needs every index of a dimension"))
        return None, inside if projection is not None else None
    flow.couplings.unite(given, recurrent)
    return given, inside


def _stacked(flow: Flow, cells: list[Cell], which: int, shape: tuple[int, ...]) -> Layout:
    """Return a state, which stacks those of all layers and directions: their hidden dimensions are alike."""
    alive = [labels for cell in cells if (labels := cell[which]) is not None]
    for labels in alive[1:]:
        flow.couplings.unite(alive[0], labels)
    if len(alive) < len(cells):
        for labels in alive:
            flow.couplings.freeze(labels, flow.reason("joins a dimension that stays whole"))
        return Layout(shape)
    return _state(shape, alive[0])


def _state(shape: tuple[int, ...], hidden: Labels | None) -> Layout:
    return Layout(shape, (Factor((len(shape) - 1,), hidden),) if hidden is not None else ())
