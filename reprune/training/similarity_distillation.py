"""Learning from a teacher's hidden states whatever their width: from how alike the positions of a sequence are.

A pruned layer has fewer channels than the dense one, so the states themselves cannot be compared; the similarities of
all pairs of positions can (Tung and Mori, 2019, arXiv:1907.09682; within a sequence as in MiniLM, Wang et al., 2020,
arXiv:2002.10957).
"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from reprune.errors import InputError


class Relations:
    """The distance between the relations that hidden states of student and teacher show.

    The states are those of the last forward pass of each, so call the teacher before asking for the loss.

    Args:
        student: The model in training.
        teacher: The dense model.
        modules: Names of modules that return ``[N, T, W]``, the same in both.
        weight: What the distance is multiplied by.

    Raises:
        InputError: A model has no module of such a name.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, modules: Sequence[str], *, weight: float) -> None:
        self._weight = weight
        self._states: dict[str, tuple[list[Tensor], list[Tensor]]] = {name: ([], []) for name in modules}
        for name, (learnt, taught) in self._states.items():
            _module(student, name).register_forward_hook(_keep(learnt, name, while_training=True))
            _module(teacher, name).register_forward_hook(_keep(taught, name))

    def loss(self) -> Tensor:
        """Return the distance of each example, ``[N]``: the mean squared difference of cosines, over all modules."""
        distances = [
            (_cosines(learnt[0]) - _cosines(taught[0])).square().mean(dim=(1, 2))
            for learnt, taught in self._states.values()
        ]
        total: Tensor = sum(distances[1:], distances[0]) * (self._weight / len(distances))
        return total


def _cosines(states: Tensor) -> Tensor:
    """Return how alike any two positions are, ``[N, T, T]``."""
    unit = F.normalize(states, dim=-1)
    return unit @ unit.transpose(1, 2)


def _keep(place: list[Tensor], name: str, *, while_training: bool = False) -> Callable[..., None]:
    """Return a hook that keeps the last output; a plain function, so that a copy of the model copies nothing else."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if while_training and not module.training:
            return
        states = output[0] if isinstance(output, tuple | list) else output
        if not isinstance(states, Tensor) or states.dim() != 3:
            shape = list(states.shape) if isinstance(states, Tensor) else type(states).__name__
            raise InputError(
                f"finetune.match: module {name!r} returns {shape}, not states [examples, positions, width].",
                "Name modules that return the hidden states of a sequence, such as the layers of a transformer.",
            )
        place[:] = [states]

    return hook


def _module(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=3, cutoff=0.3)
        hint = f"It has {', '.join(near)}." if near else "See the names with `print(model)`."
        raise InputError(f"finetune.match: the model has no module {name!r}.", hint)
    return modules[name]
