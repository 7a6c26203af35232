"""Cut each group on trial, and find which cannot be cut because the module's Python does not follow."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from reprune.errors import PruningError
from reprune.pruning import oracle, surgery
from reprune.pruning.attributes import readable
from reprune.pruning.capture import refused, tensors_of
from reprune.pruning.groups import Analysis, Edit, Group, Reading

SEED = 20_240_229
FAILURES = (RuntimeError, IndexError, ValueError, TypeError, AssertionError, ArithmeticError, AttributeError, KeyError)
"""What a module may raise when its sizes have changed under it."""

NEGLIGIBLE = 1e-3
SAMPLE = 4096
"""Elements that are looked at before all of a tensor is."""
READINGS: tuple[Reading, ...] = ("first", "never", "given")


def generic(model: nn.Module) -> nn.Module:
    """Return a copy in which no constant tensor hides a mistake; it shares the other tensors with the model.

    Fresh normalisations and layer scales hold one value, or nearly zero, and would let a wrong channel pass unseen.
    """
    generator = torch.Generator().manual_seed(SEED)
    memo: dict[int, Any] = {}
    for name, tensor in tensors_of(model).items():
        memo[id(tensor)] = tensor
        parameter = isinstance(tensor, nn.Parameter)
        if not tensor.is_floating_point() or tensor.numel() < 2 or not (parameter or "running_" in name):
            continue
        value = tensor.detach()
        if _tells_nothing(value.reshape(-1)[:SAMPLE]) and _tells_nothing(value):
            fresh = (0.5 + torch.rand(value.shape, generator=generator)).to(value)
            memo[id(tensor)] = nn.Parameter(fresh, requires_grad=tensor.requires_grad) if parameter else fresh
    return copy.deepcopy(model, memo)


def _tells_nothing(value: torch.Tensor) -> bool:
    return bool((value == value.flatten()[0]).all()) or float(value.abs().max()) < NEGLIGIBLE


def failing(model: nn.Module, analysis: Analysis) -> tuple[dict[str, str], Analysis]:
    """Cut a part of every group at once; where that fails, find by halving which kinds of group are to blame.

    Returns:
        The groups that cannot be cut, each with what went wrong; and the analysis, which may have learnt that some
        attributes of modules stand for other sizes than it thought.
    """
    model = generic(model)
    kinds: dict[Any, list[Group]] = defaultdict(list)
    for group in analysis.groups:
        kinds[_signature(model, group)].append(group)
    if trial(model, analysis, analysis.groups) is None:
        return {}, analysis
    refused(model, analysis.example_inputs)
    failed: dict[str, str] = {}
    pending = _halves(list(kinds.values()))
    while pending:
        batch = pending.pop()
        alike = [group for kind in batch for group in kind]
        reason = trial(model, analysis, alike)
        if reason is None:
            continue
        if len(batch) > 1:
            pending += _halves(batch)
            continue
        learnt = _reading_otherwise(model, analysis, alike)
        if learnt is not None:
            analysis = learnt
        elif len(alike) > 1 and trial(model, analysis, alike[:1]) is None:
            pending += [[[group]] for group in alike]
        else:
            failed.update({group.name: reason for group in alike})
    if not failed and (reason := trial(model, analysis, analysis.groups)) is not None:
        failed = {group.name: reason for group in analysis.groups}  # each can be cut alone, but not together
    return failed, analysis


def _halves(kinds: list[list[Group]]) -> list[list[list[Group]]]:
    return [half for half in (kinds[: len(kinds) // 2], kinds[len(kinds) // 2 :]) if half]


def _signature(model: nn.Module, group: Group) -> Any:
    """Tell groups apart that may fail for different reasons; layers of one class are alike."""
    places = []
    for member in group.members[:16]:
        path, _, attribute = member.tensor.rpartition(".")
        owners = (type(model.get_submodule(each)) for each in (path.rpartition(".")[0], path))
        places.append((*owners, attribute, member.dim, len(member.cells[0])))
    return group.kind, group.width, len(group.members), tuple(places)


def trial(model: nn.Module, analysis: Analysis, groups: Sequence[Group]) -> str | None:
    """Cut some groups twice, by a random share of each and by a single cell, and return what went wrong, if anything.

    One cut can be right by chance: a shuffle of one channel a group is no shuffle.
    """
    generator = np.random.default_rng(SEED)
    for gentle in (False, True):
        keep = {}
        for group in groups:
            least, most = max(1, group.width // 4), min(group.width - 1, (3 * group.width + 3) // 4)
            count = group.width - group.step if gentle else int(generator.integers(least, most, endpoint=True))
            keep[group.name] = generator.permutation(group.width)[: group.fitting(count)]
        reason = _what_fails(model, analysis, keep, training=gentle)
        if reason is not None:
            return reason
    return None


def _what_fails(model: nn.Module, analysis: Analysis, keep: Mapping[str, Any], training: bool) -> str | None:
    removed = oracle.cells_of(analysis, keep)
    try:
        pruned = surgery.preview(model, surgery.recipe_for(model, analysis, removed))
        oracle.verify(analysis, model, pruned, removed, analysis.example_inputs)
    except PruningError as error:
        return f"a trial cut showed: {error.message}"
    except FAILURES as error:
        return f"a trial cut failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    reason = _fails_in_training(pruned, analysis) if training else None
    if reason is not None and _fails_in_training(copy.deepcopy(model), analysis) is None:
        return f"a trial cut failed in training mode: {reason}"
    return None  # what the dense model cannot do on these inputs, such as batch norm over one example, proves nothing


def _fails_in_training(model: nn.Module, analysis: Analysis) -> str | None:
    try:
        oracle.train_once(model, analysis.example_inputs)
    except FAILURES as error:
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return None


def _reading_otherwise(model: nn.Module, analysis: Analysis, groups: Sequence[Group]) -> Analysis | None:
    """Look for attributes that stand for another size of their value, or have it by chance."""
    keep = {group.name: range(max(1, group.width // 2)) for group in groups}
    owners: dict[tuple[type, str], list[Edit]] = defaultdict(list)
    readings = readable(model, analysis, oracle.cells_of(analysis, keep))
    for path, attribute in readings:
        owners[type(model.get_submodule(path)), attribute].append((path, attribute))
    choices = list(owners.values())
    for edits in [*choices, [edit for each in choices for edit in each]] if choices else []:
        for reading in READINGS:
            wanted = {edit: reading for edit in edits if reading in readings[edit]}
            candidate = replace(analysis, readings={**analysis.readings, **wanted})
            if wanted and trial(model, candidate, groups) is None:
                return candidate
    return None
