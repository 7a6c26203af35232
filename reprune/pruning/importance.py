"""How much each cell of a group matters. One small function a criterion; the lowest scores go first."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from reprune.errors import InputError
from reprune.pruning.graph.analysis import Analysis, Group, Member
from reprune.pruning.graph.capture import as_call, evaluating, tensors_of

Loss = Callable[[Any, Any], Tensor]
Batches = Iterable[tuple[Any, Any]]
Scores = dict[str, Tensor]
Elementwise = Callable[[Tensor], Tensor]

PART = 2**20
"""Elements that are summed at a time."""


@dataclass(frozen=True)
class Subject:
    """What a criterion looks at."""

    model: nn.Module
    analysis: Analysis
    data: Batches | None = None
    """Batches of ``(input, target)``, for the criteria that need data."""
    loss: Loss = F.cross_entropy
    seed: int = 0

    def weights(self) -> dict[str, Tensor]:
        """Return every parameter by name, detached."""
        return {name: parameter.detach() for name, parameter in self.model.named_parameters()}

    def batches(self) -> Batches:
        """Return the batches.

        Raises:
            InputError: There are none.
        """
        if self.data is None:
            raise InputError("This criterion needs data.", "Pass data=, an iterable of (input, target) batches.")
        return self.data


Criterion = Callable[[Subject], Scores]


def slice_sums(
    values: dict[str, Tensor], members: Iterable[Member], width: int, of: Elementwise | None = None
) -> Tensor:
    """Add up values, or what `of` makes of each, in each cell's slices of some tensors, shape ``[width]``."""
    total = torch.zeros(width, dtype=torch.float64)
    for member in members:
        if member.tensor in values:
            total += _row_sums(values[member.tensor].movedim(member.dim, 0), of)[torch.tensor(member.cells)].sum(1)
    return total


def _row_sums(rows: Tensor, of: Elementwise | None) -> Tensor:
    """Sum each row of ``[N, ...]`` in double precision, a part at a time: no second tensor of its size is made."""
    sums = []
    for part in torch.split(rows, max(1, PART * len(rows) // max(rows.numel(), 1))):
        exact = part.double()
        sums.append((exact if of is None else of(exact)).reshape(len(part), -1).sum(1).cpu())
    return torch.cat(sums)


def _each(subject: Subject, values: dict[str, Tensor], role: str = "producer", of: Elementwise | None = None) -> Scores:
    return {
        group.name: slice_sums(values, [m for m in group.members if m.role == role], group.width, of)
        for group in subject.analysis.groups
    }


def random(subject: Subject) -> Scores:
    """Uniform random scores, the control that others must beat (Blalock et al. 2020, arXiv:2003.03033)."""
    generator = torch.Generator().manual_seed(subject.seed)
    return {
        group.name: torch.rand(group.width, generator=generator, dtype=torch.float64)
        for group in subject.analysis.groups
    }


def l1(subject: Subject) -> Scores:
    """Sum of absolute weights (Li et al. 2017, arXiv:1608.08710)."""
    return _each(subject, subject.weights(), of=torch.abs)


def l2(subject: Subject) -> Scores:
    """Euclidean norm of the weights."""
    sums = _each(subject, subject.weights(), of=torch.square)
    return {name: value.sqrt() for name, value in sums.items()}


def lamp(subject: Subject) -> Scores:
    """Squared norm over the sum of all no smaller, comparable across layers (Lee et al. 2021, arXiv:2010.07611)."""
    scores = {}
    for name, norm in l2(subject).items():
        squares, order = norm.square().sort(descending=True)
        scores[name] = torch.empty_like(squares).scatter_(0, order, squares / squares.cumsum(0).clamp_min(1e-300))
    return scores


def batch_norm_scale(subject: Subject) -> Scores:
    """Absolute scale of the normalisation that follows (network slimming, Liu et al. 2017, arXiv:1708.06519).

    A group that no normalisation scales is scored by the norm of its weights.
    """
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
    scales = {
        f"{path}.weight".removeprefix("."): module.weight.detach().abs()
        for path, module in subject.model.named_modules()
        if isinstance(module, norms) and module.weight is not None
    }
    magnitude = l2(subject)
    sums = _each(subject, scales)
    return {name: value if bool((value != 0).any()) else magnitude[name] for name, value in sums.items()}


def geometric_median(subject: Subject) -> Scores:
    """Distance to all other slices: what others can replace goes first (He et al. 2019, arXiv:1811.00250)."""
    weights, scores = subject.weights(), {}
    for group in subject.analysis.groups:
        rows = torch.cat([_rows(weights[m.tensor], m) for m in group.producers if m.tensor in weights], dim=1)
        scores[group.name] = torch.cdist(rows, rows).sum(1)
    return scores


def _rows(weight: Tensor, member: Member) -> Tensor:
    """Return one row a cell: everything that goes with it."""
    flat = weight.movedim(member.dim, 0).reshape(weight.shape[member.dim], -1).double().cpu()
    return flat[torch.tensor(member.cells)].flatten(1)


def gradients(subject: Subject) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Yield the weights and their gradients for each batch; the model's own ``.grad`` is left alone."""
    weights = {name: weight.requires_grad_() for name, weight in subject.weights().items()}
    for inputs, targets in subject.batches():
        args, kwargs = as_call(inputs)
        with evaluating(subject.model), torch.enable_grad():
            value = subject.loss(functional_call(subject.model, weights, args, kwargs, tie_weights=True), targets)
            found = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
        grads = {name: grad for name, grad in zip(weights, found, strict=True) if grad is not None}
        yield {name: weights[name].detach() for name in grads}, grads


def _over_batches(subject: Subject, of_batch: Callable[[dict[str, Tensor], dict[str, Tensor]], Scores]) -> Scores:
    """Average the scores of each batch."""
    total: Scores = {group.name: torch.zeros(group.width, dtype=torch.float64) for group in subject.analysis.groups}
    count = 0
    for weights, grads in gradients(subject):
        count += 1
        for name, value in of_batch(weights, grads).items():
            total[name] += value
    if count == 0:
        raise InputError("The data holds no batch.", "Pass at least one batch of (input, target).")
    return {name: value / count for name, value in total.items()}


def _products(weights: dict[str, Tensor], grads: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name] * grads[name] for name in grads}


def gradient(subject: Subject) -> Scores:
    """Mean absolute gradient of the weights."""
    return _over_batches(subject, lambda _, grads: _each(subject, grads, of=torch.abs))


def taylor(subject: Subject) -> Scores:
    """Absolute first-order change of the loss when the slice goes (Molchanov et al. 2019, arXiv:1906.10771)."""

    def of_batch(weights: dict[str, Tensor], grads: dict[str, Tensor]) -> Scores:
        return {name: value.abs() for name, value in _each(subject, _products(weights, grads)).items()}

    return _over_batches(subject, of_batch)


def fisher(subject: Subject) -> Scores:
    """Diagonal Fisher information of a gate on each cell (Theis et al. 2018, arXiv:1801.05787; Kwon et al. 2022).

    The gate's gradient is the sum of weight times gradient over what reads the slice; its square is averaged over
    batches, so small batches give the better estimate.
    """

    def of_batch(weights: dict[str, Tensor], grads: dict[str, Tensor]) -> Scores:
        return {name: value.square() for name, value in _gates(subject, weights, grads).items()}

    return _over_batches(subject, of_batch)


def taylor_activation(subject: Subject) -> Scores:
    """Absolute first-order change of the loss when the activation goes (Molchanov et al. 2017, arXiv:1611.06440).

    It is the gradient of a gate on each cell. On attention heads this is the head importance of Michel et al. 2019
    (arXiv:1905.10650), so both names stand for it.
    """

    def of_batch(weights: dict[str, Tensor], grads: dict[str, Tensor]) -> Scores:
        return {name: value.abs() for name, value in _gates(subject, weights, grads).items()}

    return _over_batches(subject, of_batch)


def _gates(subject: Subject, weights: dict[str, Tensor], grads: dict[str, Tensor]) -> Scores:
    """Return the gradient of a gate on each cell: weight times gradient of its consumers, or else its producers."""
    products = _products(weights, grads)
    consumed, produced = _each(subject, products, "consumer"), _each(subject, products)
    has = {group.name: any(member.role == "consumer" for member in group.members) for group in subject.analysis.groups}
    return {name: consumed[name] if has[name] else produced[name] for name in has}


def movement(subject: Subject) -> Scores:
    """Minus weight times gradient: how far training pushes weights from zero (Sanh et al. 2020, arXiv:2005.07683)."""
    return _over_batches(
        subject, lambda weights, grads: {k: -v for k, v in _each(subject, _products(weights, grads)).items()}
    )


def wanda(subject: Subject) -> Scores:
    """Absolute weight times the norm of the activation it reads (Sun et al. 2023, arXiv:2306.11695), over consumers."""
    consumers = {m.tensor for group in subject.analysis.groups for m in group.members if m.role == "consumer"}
    tensors = tensors_of(subject.model)
    squares: dict[str, Tensor] = {}
    handles = []
    for module in subject.model.modules():
        weight = next((name for name in consumers if getattr(module, "weight", None) is tensors[name]), None)
        if weight is not None and isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            handles.append(module.register_forward_pre_hook(_observe(squares, weight, isinstance(module, nn.Linear))))
    try:
        for inputs, _ in subject.batches():
            args, kwargs = as_call(inputs)
            with evaluating(subject.model):
                subject.model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    weighted = {name: _weighted(tensors[name].detach(), square.sqrt()) for name, square in squares.items()}
    return _each(subject, weighted, "consumer")


def _observe(squares: dict[str, Tensor], name: str, last: bool) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0].detach().movedim(-1 if last else 1, 0).flatten(1).double()
        squares[name] = squares.get(name, torch.zeros((), dtype=torch.float64)) + x.square().sum(1)

    return hook


def _weighted(weight: Tensor, norms: Tensor) -> Tensor:
    """Scale the input dimension of a weight ``[O, I, ...]``, the same for each of a convolution's groups."""
    if norms.numel() != weight.shape[1]:
        norms = norms.reshape(-1, weight.shape[1]).mean(0)
    return weight.abs() * norms.to(weight.dtype).reshape(1, -1, *[1] * (weight.dim() - 2))


CRITERIA: dict[str, Criterion] = {
    "random": random,
    "l1": l1,
    "l2": l2,
    "lamp": lamp,
    "batch_norm_scale": batch_norm_scale,
    "geometric_median": geometric_median,
    "gradient": gradient,
    "taylor": taylor,
    "taylor_activation": taylor_activation,
    "head_importance": taylor_activation,
    "fisher": fisher,
    "movement": movement,
    "wanda": wanda,
}
NEED_DATA = ("gradient", "taylor", "taylor_activation", "head_importance", "fisher", "movement", "wanda")


def score(
    model: nn.Module,
    analysis: Analysis,
    criterion: str | Criterion = "l2",
    data: Batches | None = None,
    loss: Loss = F.cross_entropy,
    seed: int = 0,
) -> Scores:
    """Score every cell of every group.

    Args:
        model: The model, left as it is.
        analysis: Of the model.
        criterion: A name from ``CRITERIA`` or a function of a ``Subject``.
        data: Batches of ``(input, target)``, for the criteria that need data.
        loss: ``loss(outputs, targets)``, a scalar.
        seed: Of the random criterion.

    Returns:
        Group name → scores, shape ``[width]``, higher is more important.

    Raises:
        InputError: There is no such criterion, or it needs data and has none.
    """
    if isinstance(criterion, str) and criterion not in CRITERIA:
        raise InputError(f"There is no criterion {criterion!r}.", f"Choose one of {', '.join(CRITERIA)}.")
    function = CRITERIA[criterion] if isinstance(criterion, str) else criterion
    return function(Subject(model, analysis, data, loss, seed))


def mean_normalized(scores: Scores) -> Scores:
    """Divide each group's scores by their mean magnitude, so that groups can be ranked together."""
    return {name: value / value.abs().mean().clamp_min(1e-300) for name, value in scores.items()}


__all__ = ["CRITERIA", "NEED_DATA", "Criterion", "Group", "Subject", "mean_normalized", "score", "slice_sums"]
