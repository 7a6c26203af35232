"""A tensor cut where it is used, so that a cut model can be tried without a second model in memory."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from reprune.pruning.recipe import Slice


def selected(tensor: torch.Tensor, cuts: Sequence[Slice]) -> torch.Tensor:
    """Return the slices of a tensor that a cut keeps, as a copy."""
    for cut in cuts:
        tensor = tensor.index_select(cut.dim, torch.tensor(cut.kept, dtype=torch.long, device=tensor.device))
    return tensor.contiguous()


class Sliced(torch.Tensor):
    """Has the shape of the slices that a cut keeps, and the memory of the whole tensor alone.

    Every operator that reads it is given a copy, which is gone with the operator's result at the latest.
    """

    whole: torch.Tensor
    cuts: Sequence[Slice]

    @staticmethod
    def __new__(cls, whole: torch.Tensor, cuts: Sequence[Slice]) -> "Sliced":
        """Make the tensor; nothing is computed."""
        shape = list(whole.shape)
        for cut in cuts:
            shape[cut.dim] = len(cut.kept)
        made: Sliced = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=whole.dtype, device=whole.device)
        made.whole, made.cuts = whole, cuts
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Run an operator on copies."""
        if func is torch.ops.aten.detach.default:  # what nn.Parameter does to its data
            return cls(args[0].whole, args[0].cuts)
        args, kwargs = pytree.tree_map_only(cls, cls.copied, (args, kwargs or {}))
        return func(*args, **kwargs)

    def copied(self) -> torch.Tensor:
        """Return the slices as a plain tensor."""
        return selected(self.whole, self.cuts)
