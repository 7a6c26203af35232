import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reprune.planning.bucket_elimination import LARGEST_TABLE, largest_table
from reprune.planning.knapsack import BUCKETS, InfeasibleError, solve
from reprune.planning.problem import Cost, Problem, exhaustive


def problem(
    seed: int, groups: int, widths: int, *, budgets: int = 1, extra: int = 0, slow_widths: bool = False
) -> Problem:
    """Return a random network: a tree of operators and some more between arbitrary groups; the dense loss is 0."""
    rng = np.random.default_rng(seed)
    choices = [np.sort(rng.choice(np.arange(1, 97), widths, replace=False)) for _ in range(groups)]
    losses = [np.append(np.sort(rng.exponential(size=widths - 1))[::-1], 0.0) for _ in range(groups)]

    def cost(*scope: int) -> Cost:
        sides = np.meshgrid(*(np.ceil(choices[g] / 8) for g in scope), indexing="ij")
        one = np.prod(sides, axis=0) if len(scope) > 1 else sides[0]
        values = np.stack([rng.uniform(0.2, 1) * one * rng.uniform(0.95, 1.05, one.shape) for _ in range(budgets)], -1)
        if slow_widths:  # off the kernel's quantum a narrower width may cost more
            values *= np.where(rng.random(values.shape) < 0.2, 3, 1)
        return Cost(scope, values)

    costs = [cost(0)] + [cost(int(rng.integers(0, g)), g) for g in range(1, groups)]
    costs += [cost(*sorted(rng.choice(groups, 2, replace=False).tolist())) for _ in range(extra)]
    names = tuple(f"group{g}" for g in range(groups))
    return Problem(names, tuple(tuple(c.tolist()) for c in choices), tuple(losses), tuple(costs))


def limits(instance: Problem, share: float) -> np.ndarray:
    low, high = instance.cost((0,) * len(instance.names)), instance.cost(instance.dense())
    return low + share * (high - low)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), groups=st.integers(2, 5), widths=st.integers(2, 5), extra=st.integers(0, 3),
    slow=st.booleans(), share=st.floats(0.0, 0.95),
)  # fmt: skip
def test_one_budget_is_solved_as_well_as_by_trying_everything(seed, groups, widths, extra, slow, share):
    instance = problem(seed, groups, widths, extra=extra, slow_widths=slow)
    bounds = np.abs(limits(instance, share))
    truth = exhaustive(instance, bounds)
    if truth is None:
        with pytest.raises(InfeasibleError):
            solve(instance, bounds)
        return
    found = solve(instance, bounds)
    assert np.all(found.costs <= bounds)
    assert found.loss <= truth[1] * 1.001 + 1e-9
    assert found.loss == pytest.approx(instance.loss(found.choice))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), groups=st.integers(2, 5), budgets=st.integers(2, 3), share=st.floats(0.05, 0.9))
def test_several_budgets_all_hold_and_lose_little_to_trying_everything(seed, groups, budgets, share):
    instance = problem(seed, groups, 4, budgets=budgets, extra=1)
    bounds = limits(instance, share) * np.random.default_rng(seed).uniform(1, 1.5, budgets)
    truth = exhaustive(instance, bounds)
    found = solve(instance, bounds)  # the narrowest widths always hold these bounds
    assert truth is not None
    assert np.all(found.costs <= bounds)
    assert found.loss <= 1.25 * truth[1] + 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), groups=st.integers(2, 12), budgets=st.integers(1, 3), slack=st.floats(0, 0.05))
@example(seed=1, groups=2, budgets=2, slack=0.0)
def test_a_plan_is_found_even_where_hardly_any_holds(seed, groups, budgets, slack):
    instance = problem(seed, groups, 5, budgets=budgets)
    bounds = instance.cost((0,) * groups) * (1 + slack)
    assert np.all(solve(instance, bounds).costs <= bounds)


def test_a_budget_that_dense_holds_cuts_nothing():
    instance = problem(0, 6, 5)
    assert solve(instance, instance.cost(instance.dense())).choice == instance.dense()


def test_more_budget_never_loses_more():
    instance = problem(3, 8, 6, extra=3)
    found = [solve(instance, limits(instance, share)).loss for share in (0.05, 0.1, 0.2, 0.4, 0.8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_an_impossible_budget_names_the_nearest_that_is_possible():
    instance = problem(1, 5, 4)
    least = min(float(instance.cost(choice)[0]) for choice in np.ndindex(*(len(widths) for widths in instance.widths)))
    with pytest.raises(InfeasibleError, match="closest plan") as caught:
        solve(instance, [least * 0.5])
    nearest = caught.value.nearest
    assert least <= nearest.costs[0] <= 1.02 * least
    assert nearest.costs == pytest.approx(instance.cost(nearest.choice))
    assert solve(instance, nearest.costs).costs[0] <= nearest.costs[0]


def test_thirty_groups_of_ten_widths_take_about_a_second():
    instance = problem(5, 30, 10, extra=2)
    begin = time.process_time()
    found = solve(instance, limits(instance, 0.4))
    assert time.process_time() - begin < 20  # a bound against blowing up, not a speed
    assert np.all(found.costs <= limits(instance, 0.4))


def test_densely_coupled_groups_are_fixed_in_turn_and_still_beat_uniform_plans():
    instance = problem(7, 12, 6, extra=40)
    assert largest_table(instance) * BUCKETS > LARGEST_TABLE
    bounds = limits(instance, 0.4)
    found = solve(instance, bounds)
    uniform = [(i,) * 12 for i in range(6) if np.all(instance.cost((i,) * 12) <= bounds)]
    assert np.all(found.costs <= bounds)
    assert found.loss < min(instance.loss(choice) for choice in uniform)
