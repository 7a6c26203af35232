"""Slices that nobody named: where the dense model's errors concentrate, found by a shallow tree over simple features.

As the Slice Finder does (Chung et al. 2019, ICDE), but honestly: the tree is grown on one half of the examples and its
leaves are judged on the other. A leaf grown and judged on the same examples holds those that the dense model happened
to get wrong, on which any other model looks better.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

DEPTH = 2
MOST = 2
SMALLEST_SHARE = 0.05
STANDARD_ERRORS = 2.0
"""By how many standard errors a leaf's errors must exceed the mean to be a weak spot."""


def find(features: Mapping[str, np.ndarray], scores: np.ndarray, *, smallest: int, seed: int) -> dict[str, np.ndarray]:
    """Return the weak spots as named masks, ``[N]`` each, of examples that had no part in finding them.

    Args:
        features: Features of each example by name, ``[N]`` each.
        scores: Score of each example under the dense model, ``[N]``, higher is better.
        smallest: Fewest examples of a weak spot.
        seed: Seed of the halves.
    """
    table = np.column_stack(list(features.values())) if features else np.empty((len(scores), 0))
    found_on = np.random.default_rng(seed).permutation(len(scores)) < len(scores) // 2
    smallest = max(smallest, int(SMALLEST_SHARE * found_on.sum()))
    if (
        not table.shape[1]
        or found_on.sum() < 2 * smallest
        or not (np.isfinite(table).all() and np.isfinite(scores).all())
    ):
        return {}
    from sklearn.tree import DecisionTreeRegressor

    errors = -scores[found_on]
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=smallest, random_state=seed)
    leaves = tree.fit(table[found_on], errors).apply(table)
    excess = {leaf: _excess(errors, leaves[found_on] == leaf) for leaf in np.unique(leaves)}
    worst = sorted((leaf for leaf in excess if excess[leaf] > STANDARD_ERRORS), key=lambda leaf: -excess[leaf])[:MOST]
    rules = _rules(tree.tree_, list(features))
    return {f"where {rules[leaf]}": (leaves == leaf) & ~found_on for leaf in worst}


def _excess(errors: np.ndarray, inside: np.ndarray) -> float:
    """Return by how many standard errors the errors inside exceed those of all."""
    spread = float(errors.std())
    return float((errors[inside].mean() - errors.mean()) / spread * inside.sum() ** 0.5) if spread else 0.0


def _rules(tree: Any, names: list[str]) -> dict[int, str]:
    """Return each leaf's conditions in words; of several on one feature and side, the last is the narrowest."""
    rules: dict[int, str] = {}

    def descend(node: int, conditions: dict[tuple[str, str], float]) -> None:
        if tree.children_left[node] == -1:
            rules[node] = " and ".join(f"{name} {side} {limit:.3g}" for (name, side), limit in conditions.items())
            return
        name, limit = names[tree.feature[node]], float(tree.threshold[node])
        descend(tree.children_left[node], conditions | {(name, "≤"): limit})
        descend(tree.children_right[node], conditions | {(name, ">"): limit})

    descend(0, {})
    return rules
