"""An exponential moving average of the weights (Polyak and Juditsky, 1992), by torch's own `AveragedModel`."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average:
    """The average of a model over its steps, buffers included.

    Args:
        model: The model in training.
        decay: Share of the average that each step keeps, below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """A model with the averaged weights."""
        averaged: nn.Module = self._averaged.module
        return averaged

    def update(self, model: nn.Module) -> None:
        """Take a step's weights into the average."""
        self._averaged.update_parameters(model)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        state: dict[str, Tensor] = self._averaged.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take on a kept state."""
        self._averaged.load_state_dict(state)
