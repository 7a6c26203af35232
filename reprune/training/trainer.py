"""Training a model: the parts put together. Each has a file of its own beside this one."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from reprune.data.datasets import Batch
from reprune.storage.checkpoints import Checkpoints
from reprune.training import process_group
from reprune.training.autocast import Precision
from reprune.training.ema import Average
from reprune.training.frozen_batchnorm import separate
from reprune.training.gradient_accumulation import Loss
from reprune.training.loop import Loop
from reprune.training.optimizer import optimizer_of
from reprune.training.qat import Rounding, rounded
from reprune.training.rng import seed_everything
from reprune.training.training_history import Epoch, History, Incident
from reprune.training.training_state import State

__all__ = ["Settings", "fit", "seed_everything"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; the fields are those of the workload's ``train`` section, but for ``rounding``.

    Attributes:
        rounding: How forward passes round, where the model is to get used to that; None in plain training.
    """

    epochs: int
    learning_rate: float
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = 1e-4
    clip_norm: float | None = 5.0
    seed: int = 0
    micro_batch: int | None = None
    precision: Precision = "float32"
    ema: float | None = None
    rounding: Rounding | None = None


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Loss,
    settings: Settings,
    *,
    validate: Callable[[nn.Module], float],
    checkpoints: Checkpoints | None = None,
    name: str = "fit",
    on_epoch: Callable[[Epoch], None] | None = None,
    on_incident: Callable[[Incident], None] | None = None,
) -> History:
    """Train a model in place; go on from its checkpoint where there is one.

    In a process that `torch.distributed` was initialized in, each batch is shared among all of its processes.

    Args:
        model: Trained in place and left in eval mode.
        batches: Returns the shuffled batches of the train split for a seed.
        loss: ``(outputs, targets, inputs) -> [N]``, the loss of each example.
        settings: How to train.
        validate: Returns the mean validation score of the model.
        checkpoints: Where finished epochs are kept, if anywhere.
        name: Name of this training among the checkpoints.
        on_epoch: Called after each epoch.
        on_incident: Called when the training survived something.

    Raises:
        StepError: The loss diverged more often than is forgiven, or memory does not hold a single example.
        StoreError: A checkpoint could not be written, however often it was tried; the one before it is kept.
        Evicted: The process got SIGTERM; where there are checkpoints, the finished steps are kept.
    """
    with contextlib.ExitStack() as during:
        during.callback(separate, model)
        if settings.rounding:
            during.enter_context(rounded(model, settings.rounding))
        optimizer = optimizer_of(
            model, settings.optimizer, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
        )
        average = Average(model, settings.ema) if settings.ema is not None else None
        loop = Loop(
            State(model, optimizer, average, micro_batch=settings.micro_batch),
            batches,
            loss,
            settings,
            validate=validate,
            checkpoints=checkpoints,
            name=name,
            group=process_group.current(),
            on_epoch=on_epoch,
            on_incident=on_incident,
        )
        history = loop.run()
    if average:
        model.load_state_dict(average.model.state_dict())
    model.eval()
    return history
