"""The proof that a bundle answers as the model that was saved in it: it is loaded, and compared bit by bit."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from reprune.errors import InputError
from reprune.pruning import masks as sparsity
from reprune.pruning import verify
from reprune.pruning.masks import Masks


def other_buffers(model: nn.Module, loaded: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that the state_dict leaves out, and that a loaded model has with another value or type."""
    found, kept = dict(loaded.named_buffers()), loaded.state_dict().keys()
    return {
        name: buffer.detach().cpu().contiguous().clone()
        for name, buffer in model.named_buffers()
        if name in found and name not in kept and not _same(buffer, found[name])
    }


def check_same(model: nn.Module, loaded: nn.Module, masks: Masks, inputs: Any, *, name: str, remedy: str) -> None:
    """Compare a model with what its bundle loads: every tensor bit by bit, and the answers on an example input.

    Args:
        model: The model that was saved; its masked weights need not be zero.
        loaded: The model that was loaded.
        masks: Which single weights stay.
        inputs: What to call both with; None compares the tensors alone.
        name: What builds the model, for messages.
        remedy: What to do if they differ.

    Raises:
        InputError: They differ.
    """
    expected, found = _masked(model.state_dict(), masks), loaded.state_dict()
    problems = [tensor for tensor, value in expected.items() if not _same(value, found[tensor])]
    if problems:
        shown = ", ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise InputError(
            f"The bundle cannot keep {shown}: loaded, its values are others. {name} ties or computes them.", remedy
        )
    if inputs is None:
        return
    if masks:
        model = copy.deepcopy(model)
        sparsity.apply(model, masks)
    device = next((tensor.device for tensor in expected.values()), torch.device("cpu"))
    difference = verify.difference(_answers(model, inputs), _answers(loaded.to(device), inputs))
    if difference:
        raise InputError(f"The model that {name} builds answers otherwise than the one to save: {difference}.", remedy)


def _answers(model: nn.Module, inputs: Any) -> list[Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # a model may draw numbers while it answers
        return verify.run(model, inputs)


def _masked(state: dict[str, Tensor], masks: Masks) -> dict[str, Tensor]:
    with torch.no_grad():
        return state | {name: state[name] * mask.to(state[name].device) for name, mask in masks.items()}


def _same(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are of the same type and shape, and the same in every bit."""
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(_bits(left), _bits(right))


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
