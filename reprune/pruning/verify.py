"""The judge of every cut: the dense graph, with what was removed zeroed, must give what the cut model gives.

Two corrections make the comparison exact. Where a node mixes indices of which some are gone (a norm, a mean, a
contraction), it is run on the kept ones alone. Everything else runs as it was exported.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from reprune.errors import PruningError
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.capture import as_call, evaluating, fed
from reprune.pruning.graph.flow import Reduction

RELATIVE_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 6e-2, torch.float16: 1e-2}
WHOLE = ("layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm")
"""Nodes whose result has the dimension that they mix."""


class ZeroedOut(fx.Interpreter):
    """Run a dense graph as if some cells were gone."""

    def __init__(
        self, analysis: Analysis, removed: "np.ndarray[Any, np.dtype[np.bool_]]", *, collect: bool = True
    ) -> None:
        super().__init__(analysis.capture.module, garbage_collect_values=collect)
        by_tensor = _gone(analysis, removed)
        named = analysis.capture.tensors
        self.gone = {placeholder: by_tensor[name] for placeholder, name in named.items() if name in by_tensor}
        self.kept = np.append(~removed, True)  # labels without a cell index it at -1
        self.cells = analysis.cells
        self.reductions: dict[str, list[Reduction]] = {}
        for reduction in analysis.flow.reductions:
            if not self._kept(reduction).all():
                self.reductions.setdefault(reduction.node, []).append(reduction)

    def _kept(self, reduction: Reduction) -> Any:
        return self.kept[self.cells[reduction.labels]]

    def map_nodes_to_values(self, args: Any, n: fx.Node) -> Any:
        """Look arguments up; weights lose their slices only now, so that no second model is in memory."""
        return fx.node.map_arg(args, self.value_of)

    def value_of(self, source: fx.Node) -> Any:
        """Return a node's value, a weight without the slices that go."""
        return _blanked(self.env[source], self.gone.get(source.name))

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, on kept indices alone where it mixes them."""
        reductions = self.reductions.get(n.name)
        if not reductions:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        names = [argument.name for argument in n.target._schema.arguments]  # type: ignore[union-attr]
        bound: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        if any(name in str(n.target) for name in WHOLE):
            return self._normalised(n, bound, reductions[0])
        for reduction in reductions:
            x = bound[reduction.argument]
            bound[reduction.argument] = x.index_select(reduction.dim, self._indices(reduction, x))
        return n.target(**bound)  # type: ignore[operator]

    def _indices(self, reduction: Reduction, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.flatnonzero(self._kept(reduction))).to(x.device)

    def _normalised(self, n: fx.Node, bound: dict[str, Any], reduction: Reduction) -> torch.Tensor:
        x = bound["input"]
        indices = self._indices(reduction, x)
        bound["input"] = x.index_select(reduction.dim, indices)
        for name in ("weight", "bias"):
            if bound.get(name) is not None and not any(
                each in str(n.target) for each in ("batch_norm", "instance_norm")
            ):
                bound[name] = bound[name].index_select(0, indices)
        if "normalized_shape" in bound:
            bound["normalized_shape"] = [len(indices)]
        elif bound.get("num_groups") == x.shape[1]:
            bound["num_groups"] = len(indices)
        part: torch.Tensor = n.target(**bound)  # type: ignore[operator]
        return torch.zeros_like(x).index_copy_(reduction.dim, indices, part)


def zeroed(analysis: Analysis, model: nn.Module, removed: Any, example_inputs: Any) -> list[Any]:
    """Return the outputs of the dense model with the removed slices zeroed.

    Args:
        analysis: Of the model.
        model: The dense model, whose weights are used.
        removed: Which cells go, over all groups, shape ``[cells]``.
        example_inputs: What to run it on; shaped like those of the analysis.
    """
    interpreter = ZeroedOut(analysis, removed)
    with torch.no_grad():
        outputs = interpreter.run(*fed(analysis.capture, model, example_inputs))
    wanted = len(analysis.capture.results)
    tensors_only = [value for value in pytree.tree_leaves(outputs) if isinstance(value, torch.Tensor)]
    return tensors_only[len(tensors_only) - wanted :]


def _gone(analysis: Analysis, removed: Any) -> dict[str, list[tuple[int, torch.Tensor]]]:
    """Return, by tensor, the indices of each dimension that go."""
    gone: dict[str, list[tuple[int, torch.Tensor]]] = {}
    offsets = analysis.offsets
    for group in analysis.groups:
        cells = np.flatnonzero(removed[offsets[group.name] : offsets[group.name] + group.width])
        for member in group.members if len(cells) else ():
            gone.setdefault(member.tensor, []).append((member.dim, torch.from_numpy(member.indices[cells].reshape(-1))))
    return gone


def _blanked(value: Any, gone: list[tuple[int, torch.Tensor]] | None) -> Any:
    if not gone:
        return value
    tensor: torch.Tensor = value.clone()
    for dim, indices in gone:
        tensor.index_fill_(dim, indices.to(tensor.device), 0)
    return tensor


def run(model: nn.Module, example_inputs: Any) -> list[torch.Tensor]:
    """Return the tensors that a model gives in eval mode; its modes and its buffers stay as they were."""
    args, kwargs = as_call(example_inputs)
    args, kwargs = pytree.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (args, kwargs))
    with evaluating(model):
        return [value for value in pytree.tree_leaves(model(*args, **kwargs)) if isinstance(value, torch.Tensor)]


def difference(expected: list[torch.Tensor], found: list[torch.Tensor]) -> str | None:
    """Return how two lists of outputs differ beyond rounding, or None."""
    if len(expected) != len(found):
        return f"{len(found)} outputs instead of {len(expected)}"
    for place, (left, right) in enumerate(zip(expected, found, strict=True)):
        if left.shape != right.shape:
            return f"output {place} has shape {list(right.shape)} instead of {list(left.shape)}"
        if not left.is_floating_point():
            if not torch.equal(left, right):
                return f"output {place} differs"
            continue
        tolerance = RELATIVE_TOLERANCE.get(left.dtype, 1e-4)
        left, right = left.double(), right.double()
        finite = left.isfinite()
        if not torch.equal(finite, right.isfinite()):
            return f"output {place} is finite elsewhere"
        scale = left[finite].abs().max() if finite.any() else torch.zeros(())
        error = (left - right)[finite].abs().max() if finite.any() else torch.zeros(())
        if error > tolerance * scale + 1e-12:
            return f"output {place} is off by {float(error):.3g} at a scale of {float(scale):.3g}"
    return None


def verify(analysis: Analysis, dense: nn.Module, pruned: nn.Module, removed: Any, example_inputs: Any) -> None:
    """Prove a cut by running it.

    Raises:
        PruningError: The cut model fails in forward, or is another function.
    """
    try:
        found = run(pruned, example_inputs)
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise PruningError(
            f"The cut model fails in forward: {reason}",
            "Its Python fixes a size that the cut changes; take sizes from tensors or from attributes of the module.",
        ) from error
    problem = difference(zeroed(analysis, dense, removed, example_inputs), found)
    if problem is not None:
        raise PruningError(
            f"The cut model is another function: {problem}.", "Leave the group dense, and report this model to reprune."
        )


def train_once(pruned: nn.Module, example_inputs: Any) -> None:
    """Run a cut model forward in training mode, which may run other code; its running statistics move."""
    args, kwargs = as_call(example_inputs)
    with evaluating(pruned, training=True), torch.random.fork_rng(devices=[]):
        pruned(*args, **kwargs)


def cells_of(analysis: Analysis, keep: Mapping[str, Any]) -> Any:
    """Return which cells go, over all groups, from those that are kept in some groups."""
    removed = np.zeros(sum(group.width for group in analysis.groups), dtype=bool)
    offsets = analysis.offsets
    for name, kept in keep.items():
        start = offsets[name]
        removed[start : start + analysis.group(name).width] = True
        removed[start + np.asarray(list(kept), dtype=np.int64)] = False
    return removed
