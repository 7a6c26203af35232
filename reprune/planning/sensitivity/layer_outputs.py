"""Outputs of layers that lose some of them and nothing else: those are zeroed, and the layer is not run again."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.union_find import Labels
from reprune.pruning.verify import ZeroedOut


@dataclass(frozen=True)
class LayerOutputs:
    """Where a layer's outputs lie in its result.

    Attributes:
        inputs: Label of each index that it adds up over; None where it cannot lose any.
        outputs: Label of each output, ``[O]``.
        dim: The result's dimension of outputs.
    """

    inputs: Labels | None
    outputs: Labels
    dim: int

    def reads_all(self, zeroing: ZeroedOut) -> bool:
        """Return whether the layer loses nothing of what it reads."""
        return self.inputs is None or bool(zeroing.kept[zeroing.cells[self.inputs]].all())

    def zeroed(self, value: Tensor, zeroing: ZeroedOut) -> Tensor:
        """Return what the layer would give for finite inputs if the weights and the bias of what goes were zero."""
        gone = np.flatnonzero(~zeroing.kept[zeroing.cells[self.outputs]])
        return value.index_fill(self.dim, torch.from_numpy(gone).to(value.device), 0) if len(gone) else value


def layer_outputs(analysis: Analysis) -> dict[str, LayerOutputs]:
    """Return where the outputs lie of all layers that can lose some, by the name of the node."""
    found = {}
    for it in analysis.flow.weighings:
        if it.outputs is not None and it.kind in ("linear", "conv", "conv_transpose"):
            behind = it.weight.meta["val"].dim() - 2  # dimensions of the result that follow the outputs
            found[it.node.name] = LayerOutputs(it.inputs, it.outputs, -1 - behind)
    return found
