"""What every cell of a model is worth, from one forward and one backward pass.

Every cell gets a gate of one on what its readers read of it; the gradients of each example's loss with respect to the
gates are those of scaling that cell (Molchanov et al. 2019, arXiv:1906.10771; Kwon et al. 2022, arXiv:2204.09656).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from reprune.data.datasets import count
from reprune.planning.sensitivity.suffix_runner import SuffixRunner, Values, copied
from reprune.pruning.graph.capture import evaluating
from reprune.pruning.verify import ZeroedOut, cells_of

Loss = Callable[[Any, Any], Tensor]


def gate_gradients(runner: SuffixRunner, inputs: Any, loss: Callable[[Any], Tensor]) -> Tensor:
    """Return the gradient of each example's loss with respect to a gate on each cell.

    Args:
        runner: Of the dense model.
        inputs: A batch of `N` examples.
        loss: Outputs to the loss of each example, ``[M]``; M is less than N where the batch was filled up.

    Returns:
        Shape ``[M, cells]``, in the order of the analysis' numbering over all groups; 0 for cells that no layer reads.
    """
    forward = _Recorded(runner)
    with evaluating(runner.model), torch.enable_grad():
        losses = loss(runner.outputs(forward.run_from(runner.feed(inputs))))
        read = {name: x for name, x in forward.read.items() if x.requires_grad}
        total = torch.zeros(len(losses), sum(group.width for group in runner.analysis.groups) + 1)
        if not read or not losses.requires_grad:
            return total[:, :-1]
        found = torch.autograd.grad(losses.sum(), list(read.values()), allow_unused=True)
    for (name, x), gradient in zip(read.items(), found, strict=True):
        reader = forward.readers[name]
        by_channel = None if gradient is None else _per_example(x.detach() * gradient, reader.kind, count(inputs))
        cells = torch.from_numpy(runner.analysis.cells[reader.inputs])  # -1, the last column, for what stays whole
        if by_channel is not None and by_channel.shape[1] == len(cells):
            total.index_add_(1, cells % total.shape[1], by_channel[: len(losses)].float().cpu())
    return total[:, :-1]


class _Recorded(ZeroedOut):
    """The dense graph, run so that gradients can flow, with what each layer reads."""

    def __init__(self, runner: SuffixRunner) -> None:
        super().__init__(runner.analysis, cells_of(runner.analysis, {}))
        self.readers = {w.node.name: w for w in runner.analysis.flow.weighings if w.inputs is not None}
        parameters = dict(runner.model.named_parameters())
        tensors = runner.analysis.capture.tensors.items()
        self._parameters = {placeholder for placeholder, name in tensors if name in parameters}
        self._nodes = runner.flow.nodes
        self.read: dict[str, Tensor] = {}

    def run_from(self, values: Values) -> Values:
        """Run the graph; what depends on a parameter is tracked."""
        self.env = {}
        for node in self._nodes:
            if node.op == "placeholder":
                value = values[node]
                tracked = node.name in self._parameters
                self.env[node] = value.detach().requires_grad_() if tracked else copied(value)
            elif node.op != "output":
                self.env[node] = self.run_node(node)
        return self.env

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, and note the activation that it multiplies by its weight."""
        if n.name not in self.readers:
            return super().run_node(n)
        sources = n.all_input_nodes
        weight = [source.name for source in sources].index(self.readers[n.name].weight.name)
        source = sources[weight - 1 if weight else min(1, len(sources) - 1)]
        x = self.env[source]
        self.read[n.name] = self.env[source] = x.view_as(x)  # so that other readers' gradients stay apart
        value = super().run_node(n)
        self.env[source] = x
        return value


def _per_example(x: Tensor, kind: str, examples: int) -> Tensor | None:
    """Add up over everything but examples and channels, ``[examples, channels]``.

    Rows that merge examples with positions are parted again.
    """
    rows = x.movedim(1 if kind.startswith("conv") else -1, -1)
    if rows.dim() < 2 or rows.shape[0] % examples:
        return None
    return rows.reshape(examples, -1, rows.shape[-1]).sum(1)
