"""What training costs, in units of the dense model's own training."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reprune.data.model_io import call

PASSES = 3
"""Forward passes that a training step is worth: itself, and twice as much backward (Kaplan et al. 2020,
arXiv:2001.08361)."""


@dataclass(frozen=True)
class Cost:
    """Counts recovery in dense trainings, by multiply-accumulates over the same train split.

    Attributes:
        dense_macs: Multiply-accumulates of the dense model on the example inputs.
        dense_epochs: Epochs that the dense model is trained for.
        taught: Whether a dense teacher runs beside the model.
    """

    dense_macs: int
    dense_epochs: int
    taught: bool

    def of(self, macs: int, epochs: float) -> float:
        """Return the cost of training a model for some epochs.

        Args:
            macs: Its multiply-accumulates on the example inputs.
            epochs: Passes over the train split.
        """
        relative = macs / self.dense_macs if self.dense_macs else 1.0
        return (PASSES * relative + self.taught) / PASSES * epochs / self.dense_epochs


@torch.no_grad()
def macs_of(model: nn.Module, example_inputs: Any) -> int:
    """Return the multiply-accumulates of a model on example inputs: half of what torch's flop counter counts."""
    was_training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            call(model, example_inputs)
    finally:
        model.train(was_training)
    return counter.get_total_flops() // 2
