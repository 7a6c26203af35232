"""Mixtures of experts: each row is multiplied by the matrix of its own expert."""

from reprune.pruning.flow import Flow
from reprune.pruning.layout import Layout
from reprune.pruning.rules.registry import Call, Outcome, rule


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
    flow.note_reduction(left, a, 1)
    flow.note_reduction(right, b, 1)
    return coupling.result(["s", "o"], call.shape)
