"""Find the groups of a model, and prove that each can be cut."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from reprune.errors import PruningError
from reprune.pruning.graph.analysis import Analysis, Edit, Reading
from reprune.pruning.graph.capture import Capture, capture, tensors_of
from reprune.pruning.graph.flow import Flow, Merge, Weighing, module_of
from reprune.pruning.graph.grouping import operators, resolve
from reprune.pruning.graph.layout import Layout
from reprune.pruning.graph.propagation import propagate, tracked
from reprune.pruning.graph.trial_pruning import Trials
from reprune.pruning.graph.union_find import Labels


def analyze(model: nn.Module, example_inputs: Any) -> Analysis:
    """Find which slices of which tensors live and die together, and prove by running it that each group can be cut.

    Args:
        model: Any module that ``torch.export`` takes; it is left as it is.
        example_inputs: A tensor, a tuple of positional arguments, or a dict of keyword arguments. A batch of two or
            more tells the batch from dimensions of size one.

    Returns:
        The groups, what stays whole and why, and the operators that do the work.

    Raises:
        PruningError: The model cannot be run or exported, or is quantized.
    """
    check(model)
    captured = capture(model, example_inputs)
    flow = Flow()
    owned = tracked(captured, model, flow)
    _freeze_parametrized(flow, owned)
    propagate(captured, flow, owned)
    if captured.idle() & {name for name, _ in model.named_parameters()}:
        captured = _with_training(model, captured, flow, owned, example_inputs)
    analysis = _analysis(model, captured, flow, owned, {}, example_inputs)
    trials = Trials(model)
    while True:
        failed, analysis = trials.failing(analysis)
        if not failed:
            return analysis
        ties = [] if trials.spent else _ties_to_stream(flow, analysis, failed)
        if ties:
            mark = flow.couplings.mark()
            _unite(flow, ties)
            coupled = _analysis(model, captured, flow, owned, analysis.readings, example_inputs)
            still, coupled = trials.failing(coupled)
            if not still:
                return coupled
            good = [tie for tie in ties if not _within(tie[0], coupled, still)]
            flow.couplings.rollback(mark)
            _unite(flow, good)
        else:
            _freeze(flow, owned, analysis, failed)
        analysis = _analysis(model, captured, flow, owned, analysis.readings, example_inputs)


def _freeze_parametrized(flow: Flow, owned: dict[str, Layout]) -> None:
    for name, layout in owned.items():
        if ".parametrizations." in f".{name}":
            for factor in layout.factors:
                reason = "is parametrized; call torch.nn.utils.parametrize.remove_parametrizations to have it cut"
                flow.couplings.freeze(factor.grid, reason)


def _with_training(
    model: nn.Module, captured: Capture, flow: Flow, owned: dict[str, Layout], example_inputs: Any
) -> Capture:
    """Couple what only the training graph uses, such as an auxiliary head; its outputs are never compared."""
    try:
        training = capture(copy.deepcopy(model), example_inputs, training=True)
    except PruningError:
        return captured  # what only training uses stays whole, and a trial in training mode finds what depends on it
    propagate(training, Flow(couplings=flow.couplings), {**tracked(training, model, flow), **owned})
    return replace(captured, training=training)


def _analysis(
    model: nn.Module,
    captured: Capture,
    flow: Flow,
    owned: dict[str, Layout],
    readings: Mapping[Edit, Reading],
    example_inputs: Any,
) -> Analysis:
    parameters = {name for name, _ in model.named_parameters()}
    groups, frozen, cells = resolve(flow, owned, captured, parameters)
    return Analysis(
        groups=groups,
        frozen=frozen,
        operators=operators(flow, captured, groups, cells),
        capture=captured,
        flow=flow,
        example_inputs=example_inputs,
        cells=cells,
        shapes={name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()},
        parameters=frozenset(parameters),
        readings=readings,
    )


def _freeze(flow: Flow, owned: dict[str, Layout], analysis: Analysis, failed: dict[str, str]) -> None:
    for name, reason in failed.items():
        for member in analysis.group(name).members:
            labels = owned[member.tensor].labels(member.dim)
            assert labels is not None
            flow.couplings.freeze(labels[np.concatenate(member.cells)], reason)


def _ties_to_stream(flow: Flow, analysis: Analysis, failed: dict[str, str]) -> list[tuple[Labels, Labels]]:
    """Return heads that failed alone, each with the width of their module's input that they may go together with.

    Much attention code reads the width of its input and uses it again for the heads: ``reshape(b, n, c)``. Then heads
    cannot go alone, but each can go with as many indices of the stream. Every pair is returned once only.
    """
    untried, ties = [], []
    for merge in flow.merges:
        if not _within(merge.labels, analysis, failed):
            untried.append(merge)
            continue
        stream = next((w.inputs for w in flow.weighings if _reads_stream(w, merge, analysis)), None)
        if stream is not None:
            ties.append((merge.labels, stream))
    flow.merges[:] = untried
    return ties


def _within(labels: Labels, analysis: Analysis, failed: dict[str, str]) -> bool:
    """Whether labels are all of one of the groups that failed."""
    cells, offsets = analysis.cells[labels], analysis.offsets
    spans = ((offsets[name], offsets[name] + analysis.group(name).width) for name in failed)
    return any(bool(((cells >= start) & (cells < stop)).all()) for start, stop in spans)


def _unite(flow: Flow, ties: list[tuple[Labels, Labels]]) -> None:
    for left, right in ties:
        flow.couplings.unite(left, right)


def _reads_stream(weighing: Weighing, merge: Merge, analysis: Analysis) -> bool:
    """Whether a weight multiplies what a module was given, at the width that the module's heads make up."""
    inside = not merge.module or f"{module_of(weighing.node)}.".startswith(f"{merge.module}.")
    if not inside or weighing.inputs is None or len(weighing.inputs) != len(merge.labels):
        return False
    return not np.array_equal(analysis.cells[weighing.inputs], analysis.cells[merge.labels])


def check(model: nn.Module) -> None:
    """Raise PruningError for a model that is wrapped, has no values yet, or whose tensors are not plain parameters."""
    if isinstance(model, torch.jit.ScriptModule):
        raise PruningError("The model is a ScriptModule.", "Pass the nn.Module that it was made from.")
    for inner in ("module", "_orig_mod"):
        if type(model).__module__.startswith("torch.") and isinstance(vars(model)["_modules"].get(inner), nn.Module):
            raise PruningError(
                f"The model is wrapped in {type(model).__name__}.", f"Pass model.{inner}, and wrap what comes back."
            )
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise PruningError(f"{name} has no shape yet.", "Run the model once on example inputs.")
    for path, module in model.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                raise PruningError(
                    f"{path}.{attribute} is computed from other tensors by a hook.",
                    "Call torch.nn.utils.remove_weight_norm or torch.nn.utils.prune.remove first.",
                )
    for name, tensor in tensors_of(model).items():
        if tensor.is_meta:
            raise PruningError(
                f"{name} is on the meta device.", "Give the model values: cuts are proven by running it."
            )
        if tensor.is_quantized or (
            isinstance(tensor, nn.Parameter) and not (tensor.is_floating_point() or tensor.is_complex())
        ):
            raise PruningError(f"{name} is quantized ({tensor.dtype}).", "Prune the model before quantizing it.")
