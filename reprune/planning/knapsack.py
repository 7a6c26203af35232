"""The planner: least predicted loss under one or several budgets, a multiple-choice knapsack with coupled widths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reprune.errors import InputError
from reprune.planning.bucket_elimination import LARGEST_TABLE, Tables, largest_table
from reprune.planning.problem import Choice, Cost, Problem, fixed

BUCKETS = 1000
CHEAPER = 64
"""Cheaper plans that are looked at when the best one breaks a budget."""

COARSE_BUCKETS = 200
"""Resolution where many tables are needed, because some groups are fixed in turn."""

HIDDEN = 0.02
"""A plan that breaks a budget by no more than this may hide one that holds it, behind the rounding to buckets."""

ROUNDING = 1e-9
"""Sums of the same costs in another order differ by less than this."""

TRADES = 12
"""Mixtures of the budgets that are tried before the best plan so far is taken."""


class InfeasibleError(InputError):
    """No choice of widths holds the budgets.

    Attributes:
        nearest: The closest plan.
    """

    def __init__(self, message: str, remedy: str, nearest: "Solution") -> None:
        super().__init__(message, remedy)
        self.nearest = nearest


@dataclass(frozen=True)
class Solution:
    """A choice of widths.

    Attributes:
        choice: Index of the width of each group.
        widths: Cells kept, by group.
        loss: What they are charged.
        costs: What it costs under each budget, ``[budgets]``.
    """

    choice: Choice
    widths: dict[str, int]
    loss: float
    costs: np.ndarray


def solve(problem: Problem, limits: Sequence[float] | np.ndarray, *, buckets: int = BUCKETS) -> Solution:
    """Choose the widths of least predicted loss whose costs hold every limit.

    One budget is solved exactly up to the rounding to buckets (`elimination.Tables`). Several are mixed into one, in
    proportions that are moved towards whichever is broken (surrogate relaxation: Glover 1975), and the best plan that
    holds all is taken. Groups whose operators couple too many others for exact tables are fixed in turn. At the end
    single groups and pairs of groups are moved while that lowers the loss.

    Args:
        problem: Widths, losses and costs.
        limits: One for each budget.
        buckets: Resolution of the budget.

    Raises:
        InfeasibleError: No choice holds the limits; it carries the nearest costs that can be reached.
    """
    bounds = np.asarray(limits, dtype=float)
    assert len(bounds) == problem.budgets
    dense = problem.dense()
    if np.all(problem.cost(dense) <= bounds):
        return _solution(problem, dense)
    found = _mixtures(problem, bounds, buckets)
    if found is None:
        raise _infeasible(problem, bounds, buckets)
    return _solution(problem, _polished(problem, bounds, found))


def _solution(problem: Problem, choice: Choice) -> Solution:
    return Solution(choice, problem.chosen(choice), problem.loss(choice), problem.cost(choice))


def _mixtures(problem: Problem, bounds: np.ndarray, buckets: int) -> Choice | None:
    """Solve for each budget alone, then for mixtures of them, and return the best choice that holds every one."""
    held: list[Choice] = []
    seen: list[Choice] = [(0,) * len(problem.names)]
    alone = np.eye(problem.budgets)
    mixture = np.full(problem.budgets, 1 / problem.budgets)
    for turn in range(problem.budgets + (TRADES if problem.budgets > 1 else 0)):
        share = alone[turn] if turn < problem.budgets else mixture
        choices = _one_budget(problem, share / bounds, buckets)
        if not choices:  # not even one budget, or a mixture that every plan within the budgets holds
            break
        holding = [choice for choice in choices if np.all(problem.cost(choice) <= bounds)]
        held += holding[:1]
        seen += choices
        if holding and holding[0] == choices[0]:  # the best where less was asked: nothing can be better
            break
        if turn >= problem.budgets:
            broken = problem.cost(choices[0]) / bounds - 1
            step = 4 / (1 + turn - problem.budgets) / max(float(np.abs(broken).max()), 1e-9)
            mixture = mixture * np.exp(step * broken)
            mixture = mixture / mixture.sum()
    return min(held, key=problem.loss) if held else _squeezed(problem, bounds, seen)


def _squeezed(problem: Problem, bounds: np.ndarray, choices: list[Choice]) -> Choice | None:
    """Bring the choice that breaks the budgets least within them, where one lies hidden in the rounding to buckets."""

    def excess(choice: Choice) -> float:
        return float(np.max(problem.cost(choice) / bounds))

    start = min(choices, key=excess)
    if excess(start) > 1 + HIDDEN:
        return None
    found = _improved(problem, start, lambda trial, now: excess(trial) < (1 - ROUNDING) * excess(now))
    return found if np.all(problem.cost(found) <= bounds) else None


def _one_budget(problem: Problem, weights: np.ndarray, buckets: int) -> list[Choice]:
    """Return the best choices under the one budget ``costs @ weights <= 1``, from dear to cheap."""
    mixed = Problem(
        problem.names,
        problem.widths,
        problem.losses,
        tuple(Cost(cost.groups, (cost.values @ weights)[..., None]) for cost in problem.merged),
    )
    if largest_table(mixed) * buckets > LARGEST_TABLE:
        return _with_fixed(mixed, min(buckets, COARSE_BUCKETS))
    return [choice for choice in Tables(mixed, 1.0, buckets).choices(CHEAPER) if mixed.cost(choice)[0] <= 1 + ROUNDING]


def _with_fixed(problem: Problem, buckets: int) -> list[Choice]:
    """Fix the groups that couple the most others, so that tables stay small; try their widths together, then singly."""
    anchors = _anchors(problem, buckets)
    found: list[Choice] = []

    def attempt(assigned: dict[int, int]) -> None:
        smaller, spent, left = fixed(problem, assigned)
        if spent[0] >= 1:
            return
        limit = 1.0 - float(spent[0])
        for inner in Tables(smaller, limit, buckets).choices(CHEAPER):
            if smaller.cost(inner)[0] <= limit + ROUNDING:
                whole = assigned | dict(zip(left, inner, strict=True))
                found.append(tuple(whole[g] for g in range(len(problem.names))))
                return

    for level in np.linspace(0, 1, 6):
        attempt({g: round(level * (len(problem.widths[g]) - 1)) for g in anchors})
    for g in anchors if found else ():
        best = min(found, key=problem.loss)
        for i in {best[g] - 1, best[g] + 1} & set(range(len(problem.widths[g]))):
            attempt({a: best[a] for a in anchors} | {g: i})
    return sorted(set(found), key=problem.loss)


def _anchors(problem: Problem, buckets: int) -> list[int]:
    anchors: list[int] = []
    while True:
        smaller, _, left = fixed(problem, dict.fromkeys(anchors, 0))
        if largest_table(smaller) * buckets <= LARGEST_TABLE // 4:
            return anchors
        coupled = [sum(len(c.groups) - 1 for c in smaller.merged if g in c.groups) for g in range(len(left))]
        anchors.append(left[int(np.argmax(coupled))])


def _polished(problem: Problem, bounds: np.ndarray, choice: Choice) -> Choice:
    """Lower the loss further, while every budget holds."""

    def better(trial: Choice, now: Choice) -> bool:
        loss = problem.loss(now)
        return loss - problem.loss(trial) > 1e-12 * (1 + abs(loss)) and bool(np.all(problem.cost(trial) <= bounds))

    return _improved(problem, choice, better)


def _improved(problem: Problem, choice: Choice, better: Callable[[Choice, Choice], bool]) -> Choice:
    """Move single groups, and pairs where the problem is small, as long as that makes a better choice."""
    current = choice
    groups = range(len(current))
    pairs = [(g, h) for g in groups for h in groups if g < h] if len(current) <= 12 else []

    def improve(moved: tuple[int, ...]) -> bool:
        nonlocal current
        for indices in np.ndindex(*(len(problem.widths[g]) for g in moved)):
            trial = list(current)
            for g, i in zip(moved, indices, strict=True):
                trial[g] = i
            if better(tuple(trial), current):
                current = tuple(trial)
                return True
        return False

    while any(improve(moved) for moved in [*((g,) for g in groups), *pairs]):
        pass
    return current


def _infeasible(problem: Problem, bounds: np.ndarray, buckets: int) -> InfeasibleError:
    """Say what the nearest budgets are: all of them stretched alike until a plan holds."""
    low, high = 1.0, float(np.max(problem.cost(problem.dense()) / bounds))
    nearest = problem.dense()
    for _ in range(20):
        middle = float(np.sqrt(low * high))
        choice = _mixtures(problem, bounds * middle, buckets)
        if choice is None:
            low = middle
        else:
            nearest, high = choice, min(high, max(float(np.max(problem.cost(choice) / bounds)), low))
        if high / low < 1.005:
            break
    costs = problem.cost(nearest)
    return InfeasibleError(
        f"No widths hold the budget: the closest plan costs {float(np.max(costs / bounds)):.2f} times what is allowed.",
        "Raise the budget to that, allow narrower widths, or start from a smaller model.",
        _solution(problem, nearest),
    )
