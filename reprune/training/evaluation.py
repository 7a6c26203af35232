"""Scores and losses of a model, example by example."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from reprune.data.datasets import Batch
from reprune.data.model_io import call
from reprune.data.tasks import Task


@torch.no_grad()
def scores(model: nn.Module, batches: Iterable[Batch], task: Task) -> np.ndarray:
    """Return the score of each example, ``[N]``, float64, with the model in eval mode."""
    return _collect(model, batches, task.score)


@torch.no_grad()
def losses(model: nn.Module, batches: Iterable[Batch], task: Task) -> np.ndarray:
    """Return the loss of each example, ``[N]``, float64, with the model in eval mode."""
    return _collect(model, batches, task.loss)


def _collect(model: nn.Module, batches: Iterable[Batch], function) -> np.ndarray:  # type: ignore[no-untyped-def]
    training = model.training
    model.eval()
    try:
        rows = [function(call(model, inputs), targets).double().numpy() for inputs, targets in batches]
    finally:
        model.train(training)
    return np.concatenate(rows)
