"""Cut a share, recover, measure, and again: from the dense widths to the planned ones in rounds."""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from reprune.data import Batch
from reprune.pruning import Analysis, Recipe, analyze, cut, reestimate, replay, score
from reprune.pruning.selection import best, rounded
from reprune.training.checkpoint import Checkpoints

BLOCK = 16
"""Channels that CPU kernels take at once, at most (AVX-512; 8 on AVX2, which divides it)."""


class Round(BaseModel):
    """What one round of cutting and recovering did."""

    model_config = ConfigDict(frozen=True)

    round: int
    widths: dict[str, int]
    """Cells of each group that are left."""
    parameters: int
    latency_ratio: float
    """Largest measured latency over all targets, as a share of the dense model's."""
    score_before: float
    """Mean validation score after the cut, before recovery."""
    score_after: float
    """Mean validation score after recovery."""
    seconds: float


class Loop:
    """The parts of the iterative pruner that depend on the workload.

    Args:
        example_inputs: What the model is traced with.
        criterion: Name of the saliency.
        saliency_batches: Batches of training examples that saliency is computed on.
        loss: ``(outputs, targets)`` to a scalar.
        recover: Trains a model in place for the round of that number.
        validate: Returns the mean validation score of a model.
        measure: Returns the latency of a model as a share of the dense one's.
        clock: Returns seconds.
    """

    def __init__(
        self,
        *,
        example_inputs: Any,
        criterion: str,
        saliency_batches: list[Batch],
        loss: Callable[[Any, Any], Tensor],
        recover: Callable[[nn.Module, int], None],
        validate: Callable[[nn.Module], float],
        measure: Callable[[nn.Module], float],
        clock: Callable[[], float],
    ) -> None:
        self._example = example_inputs
        self._criterion = criterion
        self._batches = saliency_batches
        self._loss = loss
        self._recover = recover
        self._validate = validate
        self._measure = measure
        self._clock = clock

    def run(
        self,
        dense: nn.Module,
        widths: Mapping[str, int],
        rounds: int,
        *,
        checkpoints: Checkpoints | None = None,
        on_round: Callable[[Round], None] | None = None,
    ) -> tuple[nn.Module, Recipe, list[Round]]:
        """Prune a model to the given widths.

        Args:
            dense: The model to start from; it is left as it is.
            widths: Cells to keep in each group; groups that are not named stay whole.
            rounds: How many rounds to take.
            checkpoints: Where finished rounds are kept; a run that was cut short goes on from the last.
            on_round: Called after each round.

        Returns:
            The pruned model, the recipe that leads there from the dense one, and what each round did.
        """
        model, recipe, done = self._resume(dense, checkpoints)
        whole = analyze(dense, self._example)
        for number in range(len(done) + 1, rounds + 1):
            started = self._clock()
            goal = widths_at(number / rounds, whole, widths)
            model, recipe = self._cut(model, recipe, goal)
            before = self._validate(model)
            self._recover(model, number)
            done.append(
                Round(
                    round=number,
                    widths=goal,
                    parameters=sum(parameter.numel() for parameter in model.parameters()),
                    latency_ratio=self._measure(model),
                    score_before=before,
                    score_after=self._validate(model),
                    seconds=self._clock() - started,
                )
            )
            if checkpoints:
                state = {"recipe": recipe.to_json(), "rounds": [item.model_dump() for item in done]}
                checkpoints.save("rounds", model.state_dict(), state)
            if on_round:
                on_round(done[-1])
        return model, recipe, done

    def _cut(self, model: nn.Module, recipe: Recipe, goal: Mapping[str, int]) -> tuple[nn.Module, Recipe]:
        analysis = analyze(model, self._example)
        saliency = score(model, analysis, self._criterion, self._batches, self._loss)
        keep = best_cells(saliency, goal, analysis)
        if not keep:
            return model, recipe
        smaller, step = cut(model, analysis, keep)
        reestimate(smaller, (inputs for inputs, _ in self._batches))
        return smaller, recipe.then(step)

    def _resume(self, dense: nn.Module, checkpoints: Checkpoints | None) -> tuple[nn.Module, Recipe, list[Round]]:
        found = checkpoints.load("rounds") if checkpoints else None
        if found is None:
            return copy.deepcopy(dense), Recipe.identity(dense), []
        tensors, state = found
        recipe = Recipe.from_json(state["recipe"])
        model = replay(dense, recipe)
        model.load_state_dict(tensors)
        return model, recipe, [Round.model_validate(item) for item in state["rounds"]]


def widths_at(progress: float, whole: Analysis, goal: Mapping[str, int]) -> dict[str, int]:
    """Return the widths after a share of the rounds, by the cubic schedule of Zhu and Gupta (2017, arXiv:1710.01878).

    Most is cut early, while there is much that is not needed. On the way, channels are kept in whole blocks: other
    widths train many times slower.

    Args:
        progress: Share of the rounds that are over, 0 to 1.
        whole: The dense model's groups.
        goal: Final width of each group that is to be cut.
    """
    done = 1 - (1 - progress) ** 3
    widths = {}
    for group in whole.groups:
        last = goal.get(group.name, group.width)
        width = group.width - round(done * (group.width - last))
        widths[group.name] = rounded(whole, group.name, width, BLOCK) if width > last else last
    return widths


def best_cells(saliency: Mapping[str, Tensor], widths: Mapping[str, int], analysis: Analysis) -> dict[str, list[int]]:
    """Return the cells with the highest saliency, for each group that is to become narrower than it is."""
    return {
        group.name: best(saliency[group.name], widths[group.name])
        for group in analysis.groups
        if widths.get(group.name, group.width) < group.width
    }


def first_batches(batches: Iterable[Batch], examples: int) -> list[Batch]:
    """Return batches until they hold so many examples."""
    from reprune.data import count

    taken: list[Batch] = []
    total = 0
    for batch in batches:
        taken.append(batch)
        total += count(batch[0])
        if total >= examples:
            break
    return taken
