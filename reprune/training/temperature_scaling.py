"""Temperature scaling, folded into the last layer: every exported file and bundle has it, and no inference pays for it.

A classifier that is too sure, or not sure enough, mostly is so by one factor on all its logits (Guo et al. 2017,
arXiv:1706.04599). Divided by it, probabilities mean what they say, and no prediction changes.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from reprune.data.datasets import Batch
from reprune.data.model_io import call
from reprune.gate.calibration_error import Bin, reliability

RELATIVE_ERROR = 1e-4
"""Difference of the folded model's logits from the divided ones, relative to the largest, that rounding explains."""

SMALLEST, LARGEST = 0.05, 20.0


class Scaling(BaseModel):
    """How a model was scaled.

    Attributes:
        temperature: What its logits were divided by; above 1 it was too sure. None where no layer could take it in.
        layer: The layer that holds it.
        before: Reliability on held-out examples before; empty where nothing was scaled.
        after: Reliability on the same examples after.
    """

    model_config = ConfigDict(frozen=True)

    temperature: float | None
    layer: str = ""
    before: tuple[Bin, ...] = ()
    after: tuple[Bin, ...] = ()


@torch.no_grad()
def scale(model: nn.Module, fitted_on: Sequence[Batch], shown_on: Sequence[Batch]) -> Scaling:
    """Divide a classifier's logits by the temperature that suits its labels best, in its last layer, in place.

    Where the last layer cannot take it in (it is tied to another, or is followed by a softmax), the model stays as it
    is: whether it can is not read off the model but tried out.

    Args:
        model: Returns logits ``[N, C]``; in eval mode.
        fitted_on: Batches that the temperature is fitted on: validation.
        shown_on: Other batches, to show its effect on.
    """
    logits, labels = _answers(model, fitted_on)
    temperature = fit(logits, labels)
    before = _reliability(model, shown_on)
    layer = _fold(model, temperature, fitted_on)
    if layer is None:
        return Scaling(temperature=None)
    return Scaling(temperature=temperature, layer=layer, before=before, after=_reliability(model, shown_on))


def fit(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature of the smallest cross-entropy, between 0.05 and 20.

    Args:
        logits: ``[N, C]``.
        labels: Classes, ``[N]``.
    """
    from scipy import optimize

    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / np.exp(log_temperature), labels.long()))

    found = optimize.minimize_scalar(loss, bounds=(np.log(SMALLEST), np.log(LARGEST)), method="bounded")
    return float(np.exp(found.x))


def _fold(model: nn.Module, temperature: float, batches: Sequence[Batch]) -> str | None:
    """Divide the parameters of the layer that is called last, and return its name; None where that is not the same."""
    name = _last_layer(model, batches[0])
    if name is None:
        return None
    layer = model.get_submodule(name)
    expected = _answers(model, batches)[0] / temperature
    kept = copy.deepcopy(layer.state_dict())
    for parameter in layer.parameters(recurse=False):
        parameter.div_(temperature)
    error = float((_answers(model, batches)[0] - expected).abs().max())
    if error <= RELATIVE_ERROR * max(float(expected.abs().max()), 1.0):
        return name
    layer.load_state_dict(kept)
    return None


def _last_layer(model: nn.Module, batch: Batch) -> str | None:
    """Return the name of the layer with parameters of its own that is called last."""
    called: list[str] = []
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, layer in model.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
    ]
    try:
        call(model, batch[0])
    finally:
        for hook in hooks:
            hook.remove()
    return called[-1] if called else None


def _answers(model: nn.Module, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    rows = [(call(model, inputs), targets) for inputs, targets in batches]
    return torch.cat([logits for logits, _ in rows]), torch.cat([targets for _, targets in rows])


def _reliability(model: nn.Module, batches: Sequence[Batch]) -> tuple[Bin, ...]:
    logits, labels = _answers(model, batches)
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    return tuple(reliability(confidence.numpy(), (predicted == labels).double().numpy()))
