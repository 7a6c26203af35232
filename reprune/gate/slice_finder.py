"""Slices that nobody named: where the dense model's errors concentrate, found by a shallow tree over simple features.

As the Slice Finder does (Chung et al. 2019, ICDE), but honestly: the tree is grown on one half of the examples and its
leaves are judged on the other. A leaf grown and judged on the same examples holds those that the dense model happened
to get wrong, on which any other model looks better.
"""

from collections.abc import Mapping

import numpy as np

DEPTH = 2
MOST = 2
SMALLEST_SHARE = 0.05
STANDARD_ERRORS = 2.0
"""By how many standard errors a leaf's errors must exceed the mean to be a weak spot."""

Rule = tuple[tuple[str, str, float], ...]
"""Conditions that lead to a leaf, from the root on: feature, side and limit of each."""


def find(features: Mapping[str, np.ndarray], scores: np.ndarray, *, smallest: int, seed: int) -> dict[str, np.ndarray]:
    """Return the weak spots as named masks, ``[N]`` each, of examples that had no part in finding them.

    Args:
        features: Features of each example by name, ``[N]`` each.
        scores: Score of each example under the dense model, ``[N]``, higher is better.
        smallest: Fewest examples of a weak spot.
        seed: Seed of the halves.
    """
    found_on = np.random.default_rng(seed).permutation(len(scores)) < len(scores) // 2
    smallest = max(smallest, int(SMALLEST_SHARE * found_on.sum()))
    if not all(np.isfinite(values).all() for values in (*features.values(), scores)):
        return {}
    errors = -scores[found_on]
    leaves = _grow(features, -scores, found_on, np.ones(len(scores), bool), smallest, DEPTH)
    excess = {rule: _excess(errors, inside[found_on]) for rule, inside in leaves.items()}
    worst = sorted((rule for rule in excess if excess[rule] > STANDARD_ERRORS), key=lambda rule: -excess[rule])[:MOST]
    return {f"where {_words(rule)}": leaves[rule] & ~found_on for rule in worst}


def _excess(errors: np.ndarray, inside: np.ndarray) -> float:
    """Return by how many standard errors the errors inside exceed those of all."""
    spread = float(errors.std())
    return float((errors[inside].mean() - errors.mean()) / spread * inside.sum() ** 0.5) if spread else 0.0


def _grow(
    features: Mapping[str, np.ndarray],
    errors: np.ndarray,
    found_on: np.ndarray,
    inside: np.ndarray,
    smallest: int,
    depth: int,
    rule: Rule = (),
) -> dict[Rule, np.ndarray]:
    """Return the leaves of a regression tree below a node, by the conditions that lead to them.

    Args:
        features: Features of each example by name, ``[N]`` each.
        errors: What the tree explains, ``[N]``.
        found_on: The examples that splits are chosen by, ``[N]``.
        inside: The examples in this node, ``[N]``.
        smallest: Fewest examples of a leaf.
        depth: Splits that may still follow one another.
        rule: The conditions of this node.
    """
    known = inside & found_on
    parted = {name: values[known] for name, values in features.items()} if depth else {}
    best = _best_split(parted, errors[known], smallest)
    if best is None:
        return {rule: inside}
    name, limit = best
    low = features[name] <= limit
    return {
        found: leaf
        for side, part in (("≤", inside & low), (">", inside & ~low))
        for found, leaf in _grow(
            features, errors, found_on, part, smallest, depth - 1, (*rule, (name, side, limit))
        ).items()
    }


def _best_split(features: Mapping[str, np.ndarray], errors: np.ndarray, smallest: int) -> tuple[str, float] | None:
    """Return the feature and limit that leave the smallest squared error; None where nothing can be split."""
    count = len(errors)
    if count < 2 * smallest or not np.ptp(errors):
        return None
    largest, best = 0.0, None
    low = np.arange(smallest, count - smallest + 1)  # sizes of the lower side
    for name, values in features.items():
        order = np.argsort(values)
        below, above = values[order][low - 1], values[order][low]
        explained = np.cumsum((errors - errors.mean())[order])[low - 1] ** 2 / (low * (count - low))
        explained[below == above] = 0.0  # equal values stay together
        place = int(explained.argmax())
        if explained[place] > largest:
            middle = (below[place] + above[place]) / 2
            largest, best = explained[place], (name, float(middle if middle < above[place] else below[place]))
    return best


def _words(rule: Rule) -> str:
    """Return a leaf's conditions in words; of several on one feature and side, the last is the narrowest."""
    narrowest = {(name, side): limit for name, side, limit in rule}
    return " and ".join(f"{name} {side} {limit:.3g}" for (name, side), limit in narrowest.items())
