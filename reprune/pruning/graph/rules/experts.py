"""Mixtures of experts: each row is multiplied by the matrix of its own expert."""

from torch import fx

from reprune.pruning.graph.flow import Alignment, Flow
from reprune.pruning.graph.layout import Layout
from reprune.pruning.graph.rules.registry import Call, Outcome, rule

ALIGNED_BYTES = 16
"""The kernels of ``grouped_mm`` refuse rows that do not start at a multiple of this."""


@rule("_grouped_mm", "grouped_mm", "transformers::grouped_mm_fallback")
def grouped_mm(flow: Flow, call: Call) -> Outcome:
    """``[S, I]`` in runs of rows, run e times its own ``[I, O]`` of ``[E, I, O]``: rows and experts stay whole.

    A run of columns, ``[S, I]`` and ``[I, O]`` in E parts along I, is left whole; without runs it is a batched product.
    """
    (left, a), (right, b) = call.tensors()[:2]
    if (len(a.shape), len(b.shape)) != (2, 3):
        for _, layout in call.tensors():
            flow.freeze(layout, "multiplies runs of a dimension")
        return Layout(call.shape)
    for _, layout in call.tensors()[2:]:
        flow.freeze(layout, "addresses runs of rows by number")
    a = flow.fix(a, 0, "multiplies runs of rows")
    b = flow.fix(b, 0, "holds one matrix an expert")
    coupling = flow.couple((a, ["s", "i"]), (b, ["e", "i", "o"]))
    for letter in ("i", "io"[_contiguous(call.node) == 2]):
        if (labels := coupling.labels(letter)) is not None:
            flow.alignments.append(Alignment(labels, ALIGNED_BYTES // call.node.meta["val"].element_size()))
    flow.note_reduction(left, a, 1)
    flow.note_reduction(right, b, 1)
    return coupling.result(["s", "o"], call.shape)


def _contiguous(node: fx.Node) -> int:
    """Return the dimension along which the weights lie next to one another."""
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    strides: tuple[int, ...] = weight.meta["val"].stride()
    return strides.index(min(strides))
