"""Cut a share, recover, measure, and again: from the dense widths to the planned ones in rounds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from reprune.data.datasets import Batch
from reprune.errors import InputError
from reprune.pruning.batchnorm import reestimate
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.iterative.cost import Cost, macs_of
from reprune.pruning.iterative.pruner_state import Cutting, Progress, State
from reprune.pruning.iterative.rounds import Judgement, Measured, Round
from reprune.pruning.iterative.schedules import Pace
from reprune.pruning.prune import best, cut, rounded
from reprune.pruning.recipe import Recipe

BLOCK = 16
"""Channels that CPU kernels take at once, at most (AVX-512; 8 on AVX2, which divides it)."""

MARGIN = 0.05
"""Short of the planned widths, the rounds end only when so much of the budget is to spare: measurements differ."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of the iterative pruner that depend on the workload.

    Attributes:
        example_inputs: What the model is traced with.
        criterion: Name of the saliency.
        saliency_batches: Batches of training examples that saliency is computed on.
        loss: ``(outputs, targets)`` to a scalar.
        recover: Trains a model in place: ``(model, number of the round, whether once more, epochs)``.
        judge: Judges a model on the validation split.
        measure: Measures what a model costs, whatever its weights.
        clock: Returns seconds.
    """

    example_inputs: Any
    criterion: str
    saliency_batches: list[Batch]
    loss: Callable[[Any, Any], Tensor]
    recover: Callable[[nn.Module, int, bool, int], None]
    judge: Callable[[nn.Module], Judgement]
    measure: Callable[[nn.Module], Measured]
    clock: Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long to go on.

    Attributes:
        epochs: Epochs of recovery in a round.
        drop: Drop of the mean validation score below dense from which on a round has failed.
        cost: Counts recovery in dense trainings.
        most: What all recovery may cost, in dense trainings.
        reserved: How much of that is for something else than rounds: the fine-tuning after them.
    """

    epochs: int
    drop: float
    cost: Cost
    most: float
    reserved: float = 0.0

    @property
    def left(self) -> float:
        """Return what all rounds may cost."""
        return self.most - self.reserved


@dataclass(frozen=True)
class Outcome:
    """The model that was chosen, and why.

    Attributes:
        model: The pruned model.
        recipe: Leads to it from the dense one.
        chosen: The round that it is of.
        rounds: All rounds, those that were taken back too.
        reason: Why the rounds ended, and why this one was chosen, in words.
    """

    model: nn.Module
    recipe: Recipe
    chosen: Round
    rounds: tuple[Round, ...]
    reason: str


class Loop:
    """Rounds of cutting and recovering, until the measured budget holds or a round cannot be recovered from.

    Args:
        parts: What depends on the workload.
        limits: How long to go on.
        pace: How far each round goes.
    """

    def __init__(self, parts: Parts, limits: Limits, pace: Pace) -> None:
        self._parts, self._limits, self._pace = parts, limits, pace
        self._epochs = pace.epochs(limits.epochs)

    def run(
        self,
        dense: nn.Module,
        baseline: Judgement,
        widths: Mapping[str, int],
        *,
        progress: Progress,
        on_round: Callable[[Round, int], None] | None = None,
    ) -> Outcome:
        """Prune a model towards the given widths, and return the best round.

        Args:
            dense: The model to start from; it is left as it is.
            baseline: What it is worth.
            widths: Cells to keep in each group; groups that are not named stay whole.
            progress: What is done already, and where the rest is kept.
            on_round: Called after each round, with it and the number of rounds to come, as far as can be told.

        Raises:
            InputError: The widths are the dense ones, or not even one round is within the limit on cost.
        """
        whole = analyze(dense, self._parts.example_inputs)
        if all(widths.get(group.name, group.width) >= group.width for group in whole.groups):
            raise InputError("The plan cuts nothing: every group keeps its dense width.", "Lower the budget.")
        state = progress.resume(dense)
        while True:
            started = self._parts.clock()
            step = self._next(state, whole, widths)
            if isinstance(step, str):
                break
            cutting = progress.cut_of(state) or progress.keep_cut(state, self._cut(state, *step))
            price = self._limits.cost.of(macs_of(cutting.model, self._parts.example_inputs), self._epochs)
            if state.rounds and state.spent + price > self._limits.left:
                step = f"Another round would exceed the limit of {self._limits.most:.2f} dense trainings"
                break
            done = self.recover(cutting, baseline, number=len(state.rounds) + 1, spent=state.spent, started=started)
            state = progress.add(state, done, cutting)
            if on_round:
                on_round(done, 0 if done.holds and done.recovered else self._pace.ahead(state.rounds))
        assert state.best is not None and state.chosen is not None
        model, recipe = state.best
        return Outcome(model, recipe, state.chosen, state.rounds, f"{step}; {state.chosen.verdict()}.")

    def recover(self, cutting: Cutting, baseline: Judgement, *, number: int, spent: float, started: float) -> Round:
        """Recover a model that was cut, in place: once more where once did not do and the limit on cost allows it.

        Args:
            cutting: The model.
            baseline: What the dense one is worth.
            number: Of the round.
            spent: Cost of the rounds before it, in dense trainings.
            started: When the round began, on the clock of the parts.

        Raises:
            InputError: The limit on cost does not allow the round.
        """
        parts, limits, model = self._parts, self._limits, cutting.model
        macs = macs_of(model, parts.example_inputs)
        price = limits.cost.of(macs, self._epochs)
        if spent + price > limits.left:
            raise InputError(
                f"prune.cost_limit: {limits.most:g} dense trainings do not pay for one round of {self._epochs} epochs, "
                f"which costs {price:.2f}, beside the {limits.reserved:.2f} of the fine-tuning.",
                "Raise prune.cost_limit, or lower prune.epochs or finetune.epochs.",
            )
        before = after = parts.judge(model)
        cost, recovered = 0.0, False
        for again in (False, True):
            if self._epochs:
                parts.recover(model, number, again, self._epochs)
                after = parts.judge(model)
            cost += price
            recovered = not after.surely_below(baseline, limits.drop)
            if recovered or not self._epochs or spent + cost + price > limits.left:
                break
        return Round(
            round=number,
            progress=cutting.progress,
            widths=cutting.widths,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            macs=macs,
            latency_ratio=cutting.measured.latency_ratio,
            size_bytes=cutting.measured.size_bytes,
            excess=cutting.measured.excess,
            loss_before=before.loss,
            loss_after=after.loss,
            score_before=before.score,
            score_after=after.score,
            drop=baseline.score - after.score,
            drop_allowed=limits.drop,
            recovered=recovered,
            epochs=round(cost / price) * self._epochs if price else 0,
            cost=cost,
            cost_so_far=spent + cost,
            seconds=parts.clock() - started,
        )

    def _next(self, state: State, whole: Analysis, widths: Mapping[str, int]) -> tuple[float, dict[str, int]] | str:
        """Return how far to go and the widths there, or why to go no further."""
        over = f"after {len(state.rounds)} round{'' if len(state.rounds) == 1 else 's'}"
        last = state.rounds[-1] if state.rounds else None
        if last and last.recovered and last.excess <= (1 if last.progress >= 1 else 1 - MARGIN):
            return f"The budget holds {over}"
        shares = self._pace.following(state.rounds)
        if last and not shares:
            return f"The planned widths are reached {over}" if last.recovered else f"Recovery failed {over}"
        price = self._limits.cost.of(macs_of(state.model, self._parts.example_inputs), self._epochs)
        if state.spent + 2 * price > self._limits.left:
            shares = shares[-1:]  # the last round that can be paid for goes as far as it may
        current = {group.name: group.width for group in whole.groups} | state.widths
        goals = ((share, widths_at(share, whole, widths)) for share in shares)
        return next((it for it in goals if it[1] != current), f"Nothing smaller can be cut {over}")

    def _cut(self, state: State, share: float, goal: dict[str, int]) -> Cutting:
        parts = self._parts
        analysis = analyze(state.model, parts.example_inputs)
        saliency = score(state.model, analysis, parts.criterion, parts.saliency_batches, parts.loss)
        smaller, step = cut(state.model, analysis, best_cells(saliency, goal, analysis))
        reestimate(smaller, (inputs for inputs, _ in parts.saliency_batches))
        return Cutting(smaller, state.recipe.then(step), share, goal, parts.measure(smaller))


def widths_at(share: float, whole: Analysis, goal: Mapping[str, int]) -> dict[str, int]:
    """Return the widths when a share of the cells to cut is gone.

    On the way, channels are kept in whole blocks: other widths train many times slower.

    Args:
        share: 0 to 1.
        whole: The dense model's groups.
        goal: Final width of each group that is to be cut.
    """
    widths = {}
    for group in whole.groups:
        last = goal.get(group.name, group.width)
        width = group.width - round(share * (group.width - last))
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
    from reprune.data.datasets import count

    taken: list[Batch] = []
    total = 0
    for batch in batches:
        taken.append(batch)
        total += count(batch[0])
        if total >= examples:
            break
    return taken
