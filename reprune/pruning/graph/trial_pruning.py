"""Cut each group on trial, and find which cannot be cut because the module's Python does not follow."""

import copy
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from reprune.errors import PruningError
from reprune.pruning import surgery, verify
from reprune.pruning.graph.analysis import Analysis, Edit, Group, Reading
from reprune.pruning.graph.capture import refused, tensors_of
from reprune.pruning.graph.module_attributes import readable

SEED = 20_240_229
FAILURES = (RuntimeError, IndexError, ValueError, TypeError, AssertionError, ArithmeticError, AttributeError, KeyError)
"""What a module may raise when its sizes have changed under it."""

NEGLIGIBLE = 1e-3
SAMPLE = 4096
"""Elements that are looked at before all of a tensor is."""
READINGS: tuple[Reading, ...] = ("first", "never", "given")

BUDGET = 160
"""Trials that one analysis may take. What is not proven by then stays whole."""
SEARCH = 64
"""Trials that one search for what fails may take."""
SPENT = f"was not tried: {BUDGET} trial cuts of this model, {SEARCH} a search, went to groups that fail"


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


class Trials:
    """Trial cuts of one model: what they showed, and how many are left."""

    def __init__(self, model: nn.Module) -> None:
        self.model = generic(model)
        self.taken = 0
        self._limit = 0
        self._shown: dict[Any, str | None] = {}
        self._hopeless: set[Any] = set()
        """Kinds of group and of failure for which no reading of attributes helped."""
        self._learnt: dict[tuple[type, str], Reading] = {}
        self._dense_trains: bool | None = None

    @property
    def spent(self) -> bool:
        """Whether no more trials may be taken."""
        return self.taken >= BUDGET

    def failing(self, analysis: Analysis) -> tuple[dict[str, str], Analysis]:
        """Cut a part of every group at once; where that fails, find by halving which kinds of group are to blame.

        Returns:
            The groups that cannot be cut, each with what went wrong; and the analysis, which may have learnt that some
            attributes of modules stand for other sizes than it thought.
        """
        if self._cut(analysis, analysis.groups) is None:
            return {}, analysis
        refused(self.model, analysis.example_inputs)
        self._limit = min(BUDGET, self.taken + SEARCH)
        kinds: dict[Any, list[Group]] = defaultdict(list)
        for group in analysis.groups:
            kinds[_signature(self.model, group)].append(group)
        order = list(dict.fromkeys(_family(self.model, alike[0]) for alike in kinds.values()))
        alike = sorted(kinds.values(), key=lambda groups: order.index(_family(self.model, groups[0])))
        failed, analysis = self._blame(analysis, alike, suspect=True)
        if not failed and (reason := self._cut(analysis, analysis.groups)) is not None:
            failed = {group.name: reason for group in analysis.groups}  # each can be cut alone, but not together
        return failed, analysis

    def _blame(
        self, analysis: Analysis, kinds: list[list[Group]], suspect: bool = False
    ) -> tuple[dict[str, str], Analysis]:
        """Halve; what is suspect is known to fail together, and is not tried again before it is halved."""
        if not kinds:
            return {}, analysis
        if len(kinds) == 1:
            return self._blame_kind(analysis, kinds[0])
        if not suspect and self.trial(analysis, [group for kind in kinds for group in kind]) is None:
            return {}, analysis
        half = len(kinds) // 2
        left, learnt = self._blame(analysis, kinds[:half])
        right, analysis = self._blame(learnt, kinds[half:], suspect=not left and learnt is analysis)
        return left | right, analysis

    def _blame_kind(self, analysis: Analysis, alike: list[Group]) -> tuple[dict[str, str], Analysis]:
        reason = self.trial(analysis, alike)
        if reason is None:
            return {}, analysis
        learnt = self._reading_otherwise(analysis, alike, reason)
        if learnt is not None:
            return {}, learnt
        if len(alike) > 1 and self.trial(analysis, alike[:1]) is None:
            return self._blame(analysis, [[group] for group in alike], suspect=True)
        return {group.name: reason for group in alike}, analysis

    def trial(self, analysis: Analysis, groups: Sequence[Group]) -> str | None:
        """Return what goes wrong when some groups are cut, if anything; or that it was not tried."""
        known = tuple(map(_identity, groups)), frozenset(analysis.readings.items())
        if known not in self._shown:
            if self.taken >= self._limit:
                return SPENT
            self._shown[known] = self._cut(analysis, groups)
        return self._shown[known]

    def _cut(self, analysis: Analysis, groups: Sequence[Group]) -> str | None:
        """Cut some groups twice, by a random share of each and by a single cell.

        One cut can be right by chance: a shuffle of one channel a group is no shuffle.
        """
        self.taken += 1
        generator = np.random.default_rng(SEED)
        for gentle in (False, True):
            keep = {}
            for group in groups:
                least, most = max(1, group.width // 4), min(group.width - 1, (3 * group.width + 3) // 4)
                count = group.width - group.step if gentle else int(generator.integers(least, most, endpoint=True))
                keep[group.name] = generator.permutation(group.width)[: group.fitting(count)]
            reason = self._what_fails(analysis, keep, training=gentle)
            if reason is not None:
                return reason
        return None

    def _what_fails(self, analysis: Analysis, keep: Mapping[str, Any], training: bool) -> str | None:
        removed = verify.cells_of(analysis, keep)
        try:
            pruned = surgery.preview(self.model, surgery.recipe_for(self.model, analysis, removed))
            verify.verify(analysis, self.model, pruned, removed, analysis.example_inputs)
        except PruningError as error:
            return f"a trial cut showed: {error.message}"
        except FAILURES as error:
            return f"a trial cut failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        reason = _fails_in_training(pruned, analysis) if training else None
        if reason is not None and self._dense_trains is None:
            self._dense_trains = _fails_in_training(copy.deepcopy(self.model), analysis) is None
        if reason is not None and self._dense_trains:
            return f"a trial cut failed in training mode: {reason}"
        return None  # what the dense model cannot do on these inputs, such as batch norm over one, proves nothing

    def _reading_otherwise(self, analysis: Analysis, groups: Sequence[Group], reason: str) -> Analysis | None:
        """Look for attributes that stand for another size of their value, or have it by chance.

        What helped, or did not help, one kind of group is not looked for again at its like that fail in the same way.
        """
        keep = {group.name: range(max(1, group.width // 2)) for group in groups}
        owners: dict[tuple[type, str], list[Edit]] = defaultdict(list)
        readings = readable(self.model, analysis, verify.cells_of(analysis, keep))
        for path, attribute in readings:
            owners[type(self.model.get_submodule(path)), attribute].append((path, attribute))
        failure = _family(self.model, groups[0]), re.sub(r"[\d.e+-]*\d", "#", reason), frozenset(owners)
        known = {
            edit: self._learnt[owner]
            for owner, edits in owners.items()
            for edit in edits
            if self._learnt.get(owner) in readings[edit]
        }
        choices: list[dict[Edit, Reading]] = [known]
        if failure not in self._hopeless:
            for edits in [*owners.values(), [edit for each in owners.values() for edit in each]]:
                choices += [{edit: reading for edit in edits if reading in readings[edit]} for reading in READINGS]
        for wanted in choices:
            candidate = replace(analysis, readings={**analysis.readings, **wanted})
            if wanted and self.trial(candidate, groups) is None:
                for path, attribute in wanted:
                    self._learnt[type(self.model.get_submodule(path)), attribute] = wanted[path, attribute]
                return candidate
        self._hopeless.add(failure)
        return None


def _signature(model: nn.Module, group: Group) -> Any:
    """Tell groups apart that may fail for different reasons; layers of one class are alike."""
    places = []
    for member in group.members[:16]:
        path, _, attribute = member.tensor.rpartition(".")
        owners = (type(model.get_submodule(each)) for each in (path.rpartition(".")[0], path))
        places.append((*owners, attribute, member.dim, len(member.cells[0])))
    return group.kind, group.width, len(group.members), tuple(places)


def _family(model: nn.Module, group: Group) -> Any:
    """Tell groups apart by the classes of module they run through alone, whatever their widths and number."""
    owners = set()
    for member in group.members:
        path, _, attribute = member.tensor.rpartition(".")
        owners.add((type(model.get_submodule(path)), attribute, member.dim))
    return group.kind, frozenset(owners)


def _identity(group: Group) -> Any:
    """Tell one group from another, across analyses of one model."""
    return group.name, group.width, group.step, tuple((m.tensor, m.dim, m.cells[0]) for m in group.members)


def _fails_in_training(model: nn.Module, analysis: Analysis) -> str | None:
    try:
        verify.train_once(model, analysis.example_inputs)
    except FAILURES as error:
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return None
