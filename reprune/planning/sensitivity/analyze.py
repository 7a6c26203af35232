"""Curves of all groups, measured on few examples at few widths, where the gates say that it matters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from reprune.data.datasets import count
from reprune.data.model_io import call
from reprune.errors import InputError
from reprune.planning.sensitivity.adaptive_grid import Cells
from reprune.planning.sensitivity.batching import Batch
from reprune.planning.sensitivity.curve_cache import Kept, Memory, Reference, digest_of_data, digest_of_model
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.planning.sensitivity.sampling import Sample
from reprune.planning.sensitivity.sequential_sampling import Looks, Loss, Progress
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.capture import evaluating
from reprune.pruning.importance import score

EXAMPLES = 512
"""Most examples that a narrowed model is run on."""


class Scored(NamedTuple):
    """What ranks the cells, and what the dense model loses.

    Attributes:
        saliency: By group, ``[cells]``.
        losses: Of each example in evaluation mode, ``[examples]``.
        ran: Examples that the dense model was run on for nothing but these losses.
    """

    saliency: Mapping[str, Tensor]
    losses: np.ndarray
    ran: int


def score_cells(model: nn.Module, analysis: Analysis, batches: list[Batch], loss: Loss, criterion: str) -> Scored:
    """Score the cells, and keep the losses that a criterion computes on the way; where it has none, run the model."""
    found: list[Tensor] = []

    def noted(outputs: Any, targets: Any) -> Tensor:
        losses = loss(outputs, targets)
        found.append(losses.detach())
        return losses.mean()

    saliency, ran = score(model, analysis, criterion, batches, loss=noted), 0
    if not found:
        with evaluating(model):
            found = [loss(call(model, inputs), targets) for inputs, targets in batches]
        ran = sum(map(len, found))
    losses = np.concatenate([np.empty(0), *(it.double().cpu().numpy() for it in found)])
    return Scored(saliency, losses, ran)


def analyze_sensitivity(
    model: nn.Module,
    analysis: Analysis,
    batches: Iterable[Batch],
    loss: Loss,
    *,
    widths: Mapping[str, Sequence[int]] | None = None,
    criterion: str = "taylor",
    scored: Scored | None = None,
    examples: int = EXAMPLES,
    seed: int = 0,
    memory: Memory | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Cut each group alone to several widths, least important cells first, and measure the loss on the same examples.

    The dense model is run on all examples; narrowed ones on a sample of them, that grows until the interval of each
    measurement is narrow enough.

    Args:
        model: The dense model; left as it is.
        analysis: Its groups, as `reprune.pruning.analyze` finds them.
        batches: Inputs and targets; the validation split.
        loss: ``(outputs, targets)`` to the loss of each example, ``[N]``.
        widths: Widths to measure, by group; for other groups points are made at nine widths, of which the gates choose
            those that are measured.
        criterion: Saliency that ranks the cells, computed on the same batches.
        scored: What `score_cells` returned for the same model, criterion and batches, where it is known already.
        examples: Most examples that a narrowed model is run on.
        seed: Of the choice of examples.
        memory: Where curves are kept; groups that have not moved since are not measured again.
        progress: Called with the share of the work done, 0 to 1.

    Raises:
        InputError: There are fewer than two examples.
    """
    pairs, progress = list(batches), progress or (lambda _: None)
    data_digest = digest_of_data(pairs) if memory else ""
    kept = memory.recall(data_digest, criterion) if memory else None
    model_digest = digest_of_model(model)
    if kept and not widths and kept.answers(model_digest, analysis):
        return kept.sensitivity.model_copy(update={"reused": tuple(kept.sensitivity.curves), "layer_evaluations": 0})
    total = sum(count(inputs) for inputs, _ in pairs)
    if total < 2:
        raise InputError(f"{total} examples cannot give an error bar.", "Hand in more examples, 128 or more.")
    saliency, dense, ran = scored or score_cells(model, analysis, pairs, loss, criterion)
    sample = Sample(dense, examples, seed)
    cells = {it.name: Cells(it, saliency[it.name], (widths or {}).get(it.name), sample) for it in analysis.groups}
    looks = Looks(model, analysis, pairs, loss, sample, cells)
    numbers = kept.numbers if kept else tuple(sample.looks[0])
    weights = kept.weights if kept else tuple(sample.example_weights(numbers).tolist())
    fisher = kept.fisher() if kept and kept.model_digest == model_digest else looks.fisher(numbers, weights)
    for name, it in cells.items():
        if name in fisher:
            it.propose(fisher[name])
    still = kept.unmoved(cells) if kept else {}
    looks.measure([name for name in cells if name not in still], progress)
    layers = len(analysis.operators)
    points = sum(len(it.grid) for it in cells.values())
    result = Sensitivity(
        criterion=criterion,
        examples=len(dense),
        dense_loss=float(dense.mean()),
        curves={name: still.get(name) or it.curve() for name, it in cells.items()},
        reused=tuple(still),
        layer_evaluations=looks.spent + layers * ran,
        exhaustive_layer_evaluations=layers * len(dense) * (points + 1),
    )
    if memory:
        now = {name: Reference(order=tuple(it.order.tolist()), fisher=it.fisher) for name, it in cells.items()}
        references = now | {name: kept.references[name] for name in still} if kept else now
        memory.keep(
            data_digest,
            Kept(
                model_digest=model_digest,
                sensitivity=result,
                numbers=numbers,
                weights=weights,
                references=references,
            ),
        )
    return result
