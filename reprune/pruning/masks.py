"""Unstructured and N:M sparsity as masks, kept apart from the weights and packed to a bit a weight on disk.

A mask says which weights stay. The dense weights are not touched until a mask is applied, so a model can be pruned
again at another sparsity, or a retrained one by an old mask. Zeros alone make nothing faster on a dense runtime.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from reprune import formatting
from reprune.errors import PruningError
from reprune.pruning.graph.capture import tensors_of
from reprune.pruning.shortfall import enforce, missed

Masks = dict[str, Tensor]
"""Parameter → boolean tensor of its shape, True where the weight stays."""
Ranking = Literal["adaptive", "global", "layer", "row"]
FORMAT = "reprune-masks-1"


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that masks are made for: those of two dimensions or more, ties once."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.dim() > 1}


def unstructured(
    scores: dict[str, Tensor], sparsity: float, ranking: Ranking = "global", *, strict: bool = False
) -> Masks:
    """Keep the weights with the highest scores.

    Args:
        scores: Parameter → a score for each weight, such as ``weight.abs()``.
        sparsity: Share of weights to remove, in [0, 1).
        ranking: Compare the weights of the whole model (``global``), of each ``layer`` (a tensor), or of each output
            ``row`` (as Wanda); or, ``adaptive``, those of the whole model by what each adds to its row: its squared
            score over the sum of those in the row that are no lower. That is LAMP (Lee et al. 2021, arXiv:2010.07611)
            with rows for its layers: none loses all its weights, as layers of small weights do at high sparsity where
            the ranking is global, and classes of small weights where it is by layers
            (docs/benchmarks/recovery.md). It needs scores that are not negative, such as magnitudes.
        strict: Raise if less than half of the sparsity can be reached; by default, warn (`RepruneWarning`).

    Raises:
        PruningError: The sparsity is impossible, the ranking is of scores that it cannot take, or less is reached than
            `strict` allows.
    """
    masks = ranked(scores, sparsity, ranking)
    check_reached(masks, scores, sparsity, strict=strict)
    return masks


def check_reached(masks: Masks, scores: Mapping[str, Tensor], asked: float, *, strict: bool) -> None:
    """Warn, or raise if `strict`, if masks remove less than half of the share that was asked for.

    Raises:
        PruningError: Less is reached, and `strict`.
    """
    total = sum(score.numel() for score in scores.values())
    found = sum(int((~mask).sum()) for mask in masks.values()) / total if total else 0.0
    if not missed(asked, found):
        return
    untouched = [name for name, score in scores.items() if name not in masks or bool(masks[name].all())]
    shown = ", ".join(f"{name} {list(scores[name].shape)}" for name in untouched[:3])
    shown += f" and {len(untouched) - 3} more" if len(untouched) > 3 else ""
    why = (
        f"{formatting.count(len(untouched), 'tensor')} of {len(scores)} lose none: {shown}"
        if scores
        else "no weight is scored"
    )
    enforce(
        f"The masks were asked to remove {asked:.1%} of the weights, and remove {found:.1%}. {why}.",
        "Rank whole layers or the whole model in place of short rows, or name weights of two dimensions or more.",
        strict=strict,
    )


def ranked(scores: Mapping[str, Tensor], sparsity: float, ranking: Ranking = "global") -> Masks:
    """Do as `unstructured` does, for a sparsity on the way to another: nothing is compared with it.

    Raises:
        PruningError: The sparsity is impossible, or the ranking is of scores that it cannot take.
    """
    if not 0 <= sparsity < 1:
        raise PruningError(f"A sparsity of {sparsity} is not in [0, 1).", "Pass the share to remove.")
    if ranking == "row":
        return {name: _best(score.flatten(1), sparsity).view(score.shape) for name, score in scores.items()}
    if ranking == "layer":
        return {name: _best(score.flatten()[None], sparsity).view(score.shape) for name, score in scores.items()}
    if not scores:
        return {}
    if ranking == "adaptive":
        scores = {name: _share_of_the_rest(name, score) for name, score in scores.items()}
    together = _best(torch.cat([score.flatten().double() for score in scores.values()])[None], sparsity)[0]
    parts = torch.split(together, [score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def _share_of_the_rest(name: str, score: Tensor) -> Tensor:
    """Return each squared score over the sum of those in its row that are no lower; the highest is 1."""
    if bool((score < 0).any()):
        raise PruningError(f"Scores of {name!r} are negative.", "Rank by magnitudes, or choose another ranking.")
    squared, order = score.flatten(1).double().square().sort(dim=1, descending=True, stable=True)
    share = squared / squared.cumsum(1).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.empty_like(share).scatter_(1, order, share).view(score.shape)


def _best(rows: Tensor, sparsity: float) -> Tensor:
    return _highest(rows, rows.shape[1] - int(sparsity * rows.shape[1]))


def _highest(rows: Tensor, count: int) -> Tensor:
    """Return True for the highest scores of each row; among equals the earlier."""
    order = rows.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros(rows.shape, dtype=torch.bool, device=rows.device).scatter_(1, order, True)


def n_of_m(scores: dict[str, Tensor], n: int, m: int, *, strict: bool = False) -> Masks:
    """Keep the `n` highest of every `m` weights in a row along the input dimension: 2:4, 4:8.

    Convolutions ``[O, I, ...]`` are read as ``[O, I · ...]``, as NVIDIA's kernels read them (Mishra et al. 2021,
    arXiv:2104.08378). A parameter whose rows are no multiple of `m` is left out and stays dense; if that leaves less
    than half of the zeros, a `RepruneWarning` names such parameters, or, if `strict`, an error does.

    Raises:
        PruningError: The pattern is impossible, or less is reached than `strict` allows.
    """
    if not 0 < n < m:
        raise PruningError(f"{n}:{m} is no pattern.", "Keep n of every m weights with 0 < n < m, such as 2:4.")
    masks = {}
    for name, score in scores.items():
        rows = score.flatten(1)
        if rows.shape[1] % m == 0:
            masks[name] = _highest(rows.reshape(-1, m), n).view(score.shape)
    check_reached(masks, scores, 1 - n / m, strict=strict)
    return masks


def sparsity(masks: Masks) -> float:
    """Return the share of weights that masks remove."""
    total = sum(mask.numel() for mask in masks.values())
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / total if total else 0.0


def check(model: nn.Module, masks: Masks) -> None:
    """Raise PruningError when a mask is of no parameter of the model, or has another shape."""
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            found = list(parameters[name].shape) if name in parameters else "nothing"
            raise PruningError(
                f"The mask of {name!r} is {list(mask.shape)}, the model has {found}.", "Use the masks of this model."
            )


@torch.no_grad()
def apply(model: nn.Module, masks: Masks) -> None:
    """Zero the weights that masks remove, in place.

    Raises:
        PruningError: A mask is of no parameter of the model, or has another shape.
    """
    check(model, masks)
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        parameters[name].mul_(mask.to(parameters[name].device))


@contextmanager
def held(model: nn.Module, optimizer: Optimizer, masks: Masks) -> Iterator[None]:
    """Keep removed weights at zero while an optimizer trains the others: they are zeroed again after each step."""
    apply(model, masks)
    handle = optimizer.register_step_post_hook(lambda *_: apply(model, masks))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def rewind(model: nn.Module, early: dict[str, Tensor], masks: Masks) -> None:
    """Put every tensor back to an early state, then apply the masks, in place.

    Lottery-ticket rewinding (Frankle et al. 2020, arXiv:1912.05671): to initialisation, or to an early checkpoint.

    Args:
        model: The trained model.
        early: Its ``state_dict()`` from then.
        masks: What its trained weights say should stay.

    Raises:
        PruningError: The early state is of another model.
    """
    current = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if current != {name: tensor.shape for name, tensor in early.items()}:
        differing = [
            name for name in {*current, *early} if current.get(name) != getattr(early.get(name), "shape", None)
        ]
        raise PruningError(
            f"The early state differs in {sorted(differing)[0]!r}.", "Rewind a model to its own checkpoint."
        )
    model.load_state_dict(early)
    apply(model, masks)


def save(masks: Masks, path: str | Path) -> None:
    """Write masks as safetensors, eight weights a byte."""
    packed = {name: np.packbits(mask.cpu().numpy().reshape(-1)) for name, mask in masks.items()}
    shapes = {name: ",".join(map(str, mask.shape)) for name, mask in masks.items()}
    save_file(
        packed, str(path), metadata={"format": FORMAT, **{f"shape:{name}": shape for name, shape in shapes.items()}}
    )


def load(path: str | Path) -> Masks:
    """Read masks.

    Raises:
        PruningError: The file is none that `save` wrote.
    """
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise PruningError(f"{path} holds no masks.", "Name a file written by masks.save.")
            return {name: _unpacked(file.get_tensor(name), metadata[f"shape:{name}"]) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise PruningError(f"{path} cannot be read as masks: {error}.", "Name a file written by masks.save.") from None


def _unpacked(bits: "np.ndarray[tuple[int], np.dtype[np.uint8]]", shape: str) -> Tensor:
    size = [int(n) for n in shape.split(",")]
    if min(size) < 0 or bits.dtype != np.uint8 or bits.shape != (-(-math.prod(size) // 8),):
        raise ValueError(f"{bits.dtype} of shape {list(bits.shape)} holds no mask of shape {size}")
    return torch.from_numpy(np.unpackbits(bits, count=math.prod(size)).astype(bool)).view(size)


@torch.no_grad()
def wanda_scores(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Score each weight of the linear layers by its size times the norm of what it reads (Wanda, arXiv:2306.11695).

    Rank them by row: ``unstructured(scores, sparsity, ranking="row")``.

    Args:
        model: Run in its own mode.
        batches: Inputs of the model.
    """
    names = {id(tensor): name for name, tensor in tensors_of(model).items()}
    squares: dict[str, Tensor] = {}
    layers = [(names[id(layer.weight)], layer) for layer in model.modules() if isinstance(layer, nn.Linear)]

    def observe(name: str) -> "torch.utils.hooks.RemovableHandle":
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            squares[name] = squares.get(name, torch.zeros(())) + args[0].flatten(0, -2).square().sum(0)

        return dict(layers)[name].register_forward_pre_hook(hook)

    handles = [observe(name) for name, _ in layers]
    try:
        for batch in batches:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: layer.weight.abs() * squares[name].sqrt() for name, layer in layers if name in squares}
