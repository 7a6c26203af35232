"""The tensors of a model in files of safetensors; a tensor that cannot be kept, or does not fit, is named."""

from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from reprune.errors import InputError, first_line


def write_state(model: nn.Module, path: Path) -> None:
    """Write a model's parameters and buffers; those that are tied are written once.

    Raises:
        InputError: One of them cannot be kept.
    """
    try:
        safetensors.torch.save_model(model, str(path))
    except OSError:
        raise
    except Exception as error:  # safetensors raises several unrelated types, and not all name the tensor
        raise InputError(
            f"The model's {_culprit(model)} cannot be written: {first_line(error)}",
            "Keep dense tensors in it, each with memory of its own; the factory can make everything else.",
        ) from error


def write_buffers(buffers: dict[str, Tensor], path: Path) -> None:
    """Write buffers that the state_dict leaves out."""
    safetensors.torch.save_file(buffers, path)


def fill_buffers(model: nn.Module, path: Path) -> None:
    """Set buffers that the state_dict leaves out.

    Raises:
        InputError: The file cannot be read, or the model lacks one of them.
    """
    try:
        written = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Fetch the bundle again.") from None
    buffers = dict(model.named_buffers())
    for name, value in written.items():
        if name not in buffers:
            raise InputError(f"{path} does not fit the model: it has no buffer {name}.", "Save the bundle again.")
        owner, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(owner), own_name, value)


def _culprit(model: nn.Module) -> str:
    """Return the name of the first tensor that cannot be written even alone."""
    for name, value in model.state_dict().items():
        try:
            safetensors.torch.save({name: value.contiguous()})
        except Exception:  # the error for the whole model is raised by the caller
            return name
    return "weights"
