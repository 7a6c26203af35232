"""Curves kept from one re-pruning to the next: only groups that moved since they were measured are measured again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from reprune import hashing
from reprune.planning.sensitivity.adaptive_grid import Cells, default_widths
from reprune.planning.sensitivity.curves import Curve, Sensitivity
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.capture import tensors_of
from reprune.storage.base import Store

SAME_CUT = 0.8
"""A group moved when, on average over its widths, less than this share of the cells that go are those that went when it
was measured ..."""

SAME_SCALE = 1.5
"""... or when at some width the Fisher information of what goes rose or fell by more than this factor."""


class Reference(BaseModel):
    """What the gates said of a group when its curve was measured.

    Attributes:
        order: Its cells, the most important first.
        fisher: Fisher information of each cell's gate, ``[cells]``.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    order: tuple[int, ...]
    fisher: tuple[float, ...]

    def moved(self, order: Sequence[int], fisher: Sequence[float], widths: Iterable[int]) -> bool:
        """Return whether the group is so different now that its curve no longer holds.

        Args:
            order: Its cells as they are ranked now.
            fisher: Their Fisher information now, on the same examples.
            widths: Of the curve.
        """
        wanted = list(widths)
        if len(order) != len(self.order):
            return True
        shared = [len({*order[w:]} & {*self.order[w:]}) / len(order[w:]) for w in wanted]
        before = np.array([np.sum(np.take(self.fisher, self.order[w:])) for w in wanted])
        now = np.array([np.sum(np.take(fisher, order[w:])) for w in wanted])
        scale = np.maximum(now, before) / np.maximum(np.minimum(now, before), 1e-30)
        return bool(wanted) and (float(np.mean(shared)) < SAME_CUT or bool(np.any(scale > SAME_SCALE)))


class Kept(BaseModel):
    """Curves, and what they were measured for.

    Attributes:
        model_digest: Of the weights of the last model analyzed.
        sensitivity: The curves.
        numbers: Examples that the Fisher information is over.
        weights: With which each stands for all, ``[n]``.
        references: By group.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    model_digest: str
    sensitivity: Sensitivity
    numbers: tuple[int, ...]
    weights: tuple[float, ...]
    references: dict[str, Reference]

    def fisher(self) -> dict[str, Tensor]:
        """Return the Fisher information of each group's cells, ``[cells]``, as it was."""
        return {name: torch.tensor(it.fisher, dtype=torch.float64) for name, it in self.references.items()}

    def answers(self, model_digest: str, analysis: Analysis) -> bool:
        """Return whether there is a curve of each group of this very model, at the default widths."""
        curves = self.sensitivity.curves
        widths = {it.name: {it.width, *default_widths(it.width)} for it in analysis.groups}
        return self.model_digest == model_digest and widths == {
            name: {curve.dense_width, *(point.width for point in curve.points)} for name, curve in curves.items()
        }

    def unmoved(self, now: Mapping[str, Cells]) -> dict[str, Curve]:
        """Return the curves that still hold, by group, and that have the points that are wanted."""
        found = {}
        for name, cells in now.items():
            curve, reference = self.sensitivity.curves.get(name), self.references.get(name)
            if curve is None or reference is None or curve.dense_width != cells.dense:
                continue
            points = {p.width for p in curve.points if p.examples or not cells.chosen}
            if points >= set(cells.grid) and not reference.moved(cells.order.tolist(), cells.fisher, cells.grid):
                found[name] = curve
        return found


class Memory:
    """Where the curves of a workload are kept, by data and criterion.

    Args:
        store: The store.
        workload: Name of the workload.
    """

    def __init__(self, store: Store, workload: str) -> None:
        self._store = store
        self._prefix = f"sensitivity/{workload}/"

    def recall(self, data_digest: str, criterion: str) -> Kept | None:
        """Return what was kept for these very examples, if anything."""
        key = self._key(data_digest, criterion)
        return self._store.get_model(key, Kept) if self._store.exists(key) else None

    def keep(self, data_digest: str, kept: Kept) -> None:
        """Keep curves for the next time."""
        self._store.put(self._key(data_digest, kept.sensitivity.criterion), kept.model_dump_json().encode())

    def _key(self, data_digest: str, criterion: str) -> str:
        return f"{self._prefix}{criterion}-{data_digest[:32]}.json"


def digest_of_model(model: nn.Module) -> str:
    """Return the sha256 over the names and values of a model's parameters and buffers."""
    return hashing.of_json({name: _digest(tensor) for name, tensor in tensors_of(model).items()})


def digest_of_data(batches: Iterable[Any]) -> str:
    """Return the sha256 over the tensors of batches of examples, in order."""
    leaves = [leaf for batch in batches for leaf in pytree.tree_leaves(batch)]
    return hashing.of_json([_digest(leaf) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves])


def _digest(tensor: Tensor) -> str:
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashing.of_bytes(f"{tensor.dtype} {list(tensor.shape)}".encode() + raw.numpy().tobytes())
