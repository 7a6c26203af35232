"""When weights go: little by little while an optimizer trains, or in rounds that begin again from an early state.

Both end in the masks of `reprune.pruning.masks`, to be saved, applied to other weights, or held while training::

    with schedules.gradual(model, optimizer, sparsity=0.9, steps=len(loader) * epochs) as pruning:
        train(model, optimizer, loader, epochs)  # any loop that calls optimizer.step()
    masks.save(pruning.masks, "masks.safetensors")
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reprune.errors import PruningError
from reprune.pruning import masks as masking
from reprune.pruning.masks import Masks, Ranking

RAMP = (0.1, 0.7)
"""Shares of the training between which sparsity rises: weights settle before it, and survivors recover after it."""

REFRESHES = 100
"""How many times the masks are made anew: ranking all weights at every step would cost more than the step itself."""


def cubic(progress: float, sparsity: float, ramp: tuple[float, float] = RAMP) -> float:
    """Return the sparsity at a share of the training, rising fast at first (Zhu & Gupta 2017, arXiv:1710.01878)."""
    begin, end = ramp
    done = min(max((progress - begin) / (end - begin), 0.0), 1.0)
    return sparsity * (1 - (1 - done) ** 3)


class Gradual:
    """The state of a gradual pruning: what stays, what was removed, and how each weight scores.

    Forward and backward see the masked weights, and the gradient reaches removed ones too, so that a weight whose score
    rises comes back with the value that it had (the straight-through estimator of Sanh et al. 2020).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        sparsity: float,
        steps: int,
        criterion: Literal["movement", "magnitude"],
        ranking: Ranking,
        names: Iterable[str] | None,
        strict: bool = False,
    ) -> None:
        if not 0 <= sparsity < 1:
            raise PruningError(f"A sparsity of {sparsity} is not in [0, 1).", "Pass the share to remove.")
        if steps < 1:
            raise PruningError(f"A training of {steps} steps prunes nothing.", "Pass the number of optimizer steps.")
        self.sparsity, self.steps, self.criterion, self.ranking = sparsity, steps, criterion, ranking
        self.strict = strict
        self.parameters = _chosen(model, names)
        self.step = 0
        self.masks: Masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in self.parameters.items()}
        self.dense = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.movement = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    @property
    def scores(self) -> dict[str, Tensor]:
        """Return a score for each weight: how far training moved it from zero, or its magnitude."""
        if self.criterion == "movement":
            return self.movement
        return {name: value.abs() for name, value in self.dense.items()}

    @torch.no_grad()
    def before_step(self, *_: Any) -> None:
        """Note where the gradient pushes every weight, and let the optimizer see only the weights that stay."""
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                self.movement[name] -= parameter.grad * self.dense[name]
                parameter.grad *= self.masks[name]

    @torch.no_grad()
    def after_step(self, *_: Any) -> None:
        """Take over what the optimizer did to the weights that stay, and make the masks anew where it is time."""
        self.step += 1
        for name, parameter in self.parameters.items():
            self.dense[name] = torch.where(self.masks[name], parameter, self.dense[name])
        if self.step % max(1, self.steps // REFRESHES) == 0 or self.step == self.steps:
            self.masks = masking.ranked(self.scores, cubic(self.step / self.steps, self.sparsity), self.ranking)
        self.write()
        if self.step == self.steps:
            masking.check_reached(self.masks, self.parameters, self.sparsity, strict=self.strict)

    @torch.no_grad()
    def write(self) -> None:
        """Put the masked weights into the model."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.dense[name] * self.masks[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that a checkpoint needs besides the model and the optimizer, as tensors by name."""
        state = {"step": torch.tensor(self.step)}
        for part in ("masks", "dense", "movement"):
            state |= {f"{part}.{name}": tensor for name, tensor in getattr(self, part).items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a checkpoint.

        Raises:
            PruningError: The checkpoint is of other parameters.
        """
        if {key: value.shape for key, value in state.items()} != {k: v.shape for k, v in self.state_dict().items()}:
            raise PruningError(
                "The checkpoint of this pruning is of other parameters.",
                "Resume with the model and names it began with.",
            )
        self.step = int(state["step"])
        for part in ("masks", "dense", "movement"):
            tensors = getattr(self, part)
            tensors.update({name: state[f"{part}.{name}"].clone() for name in tensors})
        self.write()


@contextmanager
def gradual(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    sparsity: float,
    steps: int,
    criterion: Literal["movement", "magnitude"] = "movement",
    ranking: Ranking = "global",
    names: Iterable[str] | None = None,
    strict: bool = False,
) -> Iterator[Gradual]:
    """Prune single weights while an optimizer trains the others, in any loop that calls ``optimizer.step()``.

    Movement pruning keeps what fine-tuning pushes away from zero, and is the better choice where a pretrained model is
    fine-tuned to high sparsity (Sanh et al. 2020, arXiv:2005.07683); magnitude keeps what is large.

    Args:
        model: Trained by the loop; on leaving, its removed weights are zero.
        optimizer: Of the model's parameters; its hooks do the work.
        sparsity: Share of weights to remove in the end, in [0, 1).
        steps: Optimizer steps of the whole training; sparsity rises along `RAMP` of them.
        criterion: ``movement`` or ``magnitude``.
        ranking: Compare the weights of the whole model, of each layer, or of each output row.
        names: Parameters to prune; by default all of two dimensions or more.
        strict: Raise after the last step if less than half of the sparsity is reached; by default, warn.

    Yields:
        The pruning: its ``masks``, its ``scores``, and a ``state_dict`` for checkpoints.

    Raises:
        PruningError: The sparsity or the number of steps is impossible, or a parameter does not exist.
    """
    pruning = Gradual(
        model, sparsity=sparsity, steps=steps, criterion=criterion, ranking=ranking, names=names, strict=strict
    )
    hooks = (
        optimizer.register_step_pre_hook(pruning.before_step),
        optimizer.register_step_post_hook(pruning.after_step),
    )
    try:
        yield pruning
    finally:
        for hook in hooks:
            hook.remove()


def lottery_ticket(
    model: nn.Module,
    train: Callable[[nn.Module, Masks], object],
    *,
    sparsity: float,
    rounds: int,
    early: dict[str, Tensor] | None = None,
    names: Iterable[str] | None = None,
    strict: bool = False,
) -> Masks:
    """Find a sparse network that trains as well as the dense one, by magnitude pruning and rewinding in rounds.

    Each round trains, removes the same share of what is left by magnitude, and rewinds the survivors: to the
    initialisation (Frankle & Carbin 2019, arXiv:1803.03635) or, which works for larger networks too, to an early
    checkpoint (Frankle et al. 2020, arXiv:1912.05671).

    Args:
        model: Begins as it is now; left rewound and masked, ready for its last training.
        train: ``train(model, masks)`` trains in place; keep removed weights at zero with ``masks.held``.
        sparsity: Share of weights to remove in the end, in [0, 1).
        rounds: How many times to train, prune and rewind.
        early: The ``state_dict()`` to rewind to; by default that of now.
        names: Parameters to prune; by default all of two dimensions or more.
        strict: Raise in the end if less than half of the sparsity is reached; by default, warn.

    Returns:
        The masks of the ticket.

    Raises:
        PruningError: The sparsity or the number of rounds is impossible, or the early state is of another model.
    """
    if rounds < 1:
        raise PruningError(f"A ticket cannot be found in {rounds} rounds.", "Pass rounds=1 or more.")
    if not 0 <= sparsity < 1:
        raise PruningError(f"A sparsity of {sparsity} is not in [0, 1).", "Pass the share to remove.")
    parameters = _chosen(model, names)
    early = {name: tensor.detach().clone() for name, tensor in (early or model.state_dict()).items()}
    kept: Masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in parameters.items()}
    masking.rewind(model, early, kept)
    for finished in range(1, rounds + 1):
        train(model, kept)
        scores = {name: p.detach().abs().masked_fill(~kept[name], -1.0) for name, p in parameters.items()}
        kept = masking.ranked(scores, 1 - (1 - sparsity) ** (finished / rounds))
        masking.rewind(model, early, kept)
    masking.check_reached(kept, parameters, sparsity, strict=strict)
    return kept


def _chosen(model: nn.Module, names: Iterable[str] | None) -> dict[str, nn.Parameter]:
    parameters = dict(model.named_parameters())
    chosen = list(masking.weights_of(model) if names is None else names)
    unknown = [name for name in chosen if name not in parameters]
    if unknown:
        raise PruningError(f"The model has no parameter {unknown[0]!r}.", "Name parameters as named_parameters() does.")
    return {name: parameters[name] for name in chosen}
