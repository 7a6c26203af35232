"""The training loop. Everything random is a function of the seed and the epoch, so that resuming changes nothing."""

import math
import random
import time
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from reprune.data import Batch, count
from reprune.errors import StepError
from reprune.structure import call
from reprune.training.checkpoint import Checkpoints
from reprune.training.history import Epoch, History

CHECKPOINT_SECONDS = 5.0
"""Least time between two checkpoints, so that short epochs are not spent on writing them."""

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises from nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; the fields are those of the workload's ``train`` section."""

    epochs: int
    learning_rate: float
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = 1e-4
    clip_norm: float | None = 5.0
    seed: int = 0


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Any, Any, Any], Tensor],
    settings: Settings,
    *,
    validate: Callable[[nn.Module], float],
    checkpoints: Checkpoints | None = None,
    name: str = "fit",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train a model in place; go on from its checkpoint where there is one.

    Args:
        model: Trained in place and left in eval mode.
        batches: Returns the shuffled batches of the train split for a seed.
        loss: ``(outputs, targets, inputs) -> [N]``, the loss of each example.
        settings: How to train.
        validate: Returns the mean validation score of the model.
        checkpoints: Where finished epochs are kept, if anywhere.
        name: Name of this training among the checkpoints.
        on_epoch: Called after each epoch.

    Raises:
        StepError: The loss is no longer finite.
    """
    optimizer = _optimizer(model, settings)
    history, saved_at = _resume(model, optimizer, checkpoints, name), time.monotonic()
    for epoch in range(len(history.epochs), settings.epochs):
        started = time.perf_counter()
        seed_everything(settings.seed * 10_007 + epoch)
        mean_loss = _epoch(model, optimizer, batches(settings.seed * 10_007 + epoch), loss, settings, epoch)
        record = Epoch(
            epoch=epoch + 1,
            loss=mean_loss,
            validation_score=validate(model),
            learning_rate=optimizer.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
        )
        history.epochs.append(record)
        last = epoch + 1 == settings.epochs
        if checkpoints and (last or time.monotonic() - saved_at > CHECKPOINT_SECONDS):
            checkpoints.save(name, _pack(model, optimizer), history.model_dump())
            saved_at = time.monotonic()
        if on_epoch:
            on_epoch(record)
    model.eval()
    return history


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and Python, since a user's dataset may draw from any of them."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    loss: Callable[[Any, Any, Any], Tensor],
    settings: Settings,
    epoch: int,
) -> float:
    model.train()
    steps = len(batches) if isinstance(batches, Sized) else 0
    total, examples = 0.0, 0
    for step, (inputs, targets) in enumerate(batches):
        if count(inputs) == 1 and _has_batch_norm(model):
            continue  # batch statistics of a single example do not exist
        progress = (epoch + (step / steps if steps else 0.0)) / settings.epochs
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(progress)
        value = loss(call(model, inputs), targets, inputs).mean()
        if not torch.isfinite(value):
            rate = optimizer.param_groups[0]["lr"]
            raise StepError(
                f"The training loss became {value.item()} in epoch {epoch + 1}, at a learning rate of {rate:.3g}.",
                "Lower `train.learning_rate` (or that of `finetune`) or `train.clip_norm`; finished epochs are kept.",
            )
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        total, examples = total + value.item() * count(inputs), examples + count(inputs)
    return total / max(examples, 1)


def _schedule(progress: float) -> float:
    """Linear warm-up, then half a cosine to (almost) nothing; ``progress`` runs from 0 to 1."""
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.01)
    return max(0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))), 0.001)


def _optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _pack(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items() if torch.is_tensor(value)}
    return state


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints | None, name: str) -> History:
    found = checkpoints.load(name) if checkpoints else None
    if found is None:
        return History()
    tensors, state = found
    model.load_state_dict(
        {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    )
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, slot = key.split(".", 2)
            slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": slots})
    return History.model_validate(state)
