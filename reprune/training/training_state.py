"""Everything that a training is at one moment, as tensors and JSON: what it can go back to, what a checkpoint holds."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from reprune.training import rng
from reprune.training.divergence import Guard
from reprune.training.ema import Average
from reprune.training.training_history import History


@dataclass
class Position:
    """Where in its data a training is."""

    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished steps of the epoch under way."""
    examples: int = 0
    """Examples of this epoch so far."""
    loss_sum: float = 0.0
    """Their losses, summed."""
    seconds: float = 0.0
    """Time spent on this epoch by processes that came to an end in it."""


@dataclass
class Snapshot:
    """A state of a training, in memory of its own."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def is_finite(self) -> bool:
        """Return whether all of it is free of infinities and NaN."""
        return _is_finite(self.tensors)

    def loss(self) -> float | None:
        """Return the mean training loss of the epoch under way, or else of the last one, if any."""
        at, epochs = Position(**self.state["position"]), self.state["history"]["epochs"]
        if at.examples:
            return at.loss_sum / at.examples
        return float(epochs[-1]["loss"]) if epochs else None


@dataclass
class State:
    """A training: the model, how it is being changed, and how far it is."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None = None
    guard: Guard = field(default_factory=Guard)
    position: Position = field(default_factory=Position)
    history: History = field(default_factory=History)
    micro_batch: int | None = None

    def snapshot(self, random: list[Tensor] | None = None) -> Snapshot:
        """Return a copy of the state.

        Args:
            random: The random state of each process, where an epoch is under way; a new one is seeded.
        """
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items() if torch.is_tensor(value)}
        tensors |= {f"random.{rank}": value for rank, value in enumerate(random or [])}
        return Snapshot({name: tensor.detach().clone() for name, tensor in tensors.items()}, self.described())

    def is_finite(self) -> bool:
        """Return whether the weights are free of infinities and NaN."""
        return _is_finite(self.model.state_dict())

    def described(self) -> dict[str, Any]:
        """Return all of the state that is not tensors, as JSON."""
        return {
            "position": asdict(self.position),
            "guard": self.guard.state(),
            "history": self.history.model_dump(),
            "micro_batch": self.micro_batch,
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Take on the weights, the optimizer's state and the position of a snapshot."""
        self.model.load_state_dict(_below("model.", snapshot.tensors))
        if self.average:
            self.average.load_state_dict(_below("average.", snapshot.tensors))
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in _below("optimizer.", snapshot.tensors).items():
            index, slot = key.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value.clone()
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.position = Position(**snapshot.state["position"])
        self.guard.restore(snapshot.state["guard"])
        self.history = History.model_validate(snapshot.state["history"])
        self.micro_batch = snapshot.state["micro_batch"]

    def restore_random(self, snapshot: Snapshot, rank: int) -> None:
        """Take on the random state of a snapshot, where it holds one for this process."""
        kept = snapshot.tensors.get(f"random.{rank}")
        if kept is not None:
            rng.restore(kept)


def _is_finite(tensors: dict[str, Tensor]) -> bool:
    """Look at the extremes alone, which are NaN where anything is: one pass and no tensor in between."""
    floating = [tensor for tensor in tensors.values() if tensor.is_floating_point() and tensor.numel()]
    return all(math.isfinite(extreme.item()) for tensor in floating for extreme in (tensor.amin(), tensor.amax()))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
