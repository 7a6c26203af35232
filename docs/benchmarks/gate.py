"""How often the gate is wrong, simulated: an inferior model passes, or an equal one does not at the size it asked for.

Run it with ``python docs/benchmarks/gate.py``: it prints the tables of gate.md, in a minute or two on one core.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from reprune.gate import paired
from reprune.gate.statistics import Comparison, compare, holm, is_binary, mean_interval, p_value_of_harm

CASES = 1000
CONFIDENCE = 0.95
TOLERANCE = 0.01

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def answers(gained: float, drop: float, right: float = 0.9) -> Draw:
    """Two models right or wrong: the candidate gains and loses these shares of the examples."""

    def draw(rng: np.random.Generator, examples: int) -> tuple[np.ndarray, np.ndarray]:
        place = rng.random(examples)
        lost, won = place < gained + drop, place > 1 - gained
        both = rng.random(examples) < right
        return np.where(lost, 1.0, np.where(won, 0.0, both)), np.where(lost, 0.0, np.where(won, 1.0, both))

    return draw


def shares(spread: float, drop: float) -> Draw:
    """Two language models, scored by the share of next tokens that are right: skewed differences of few sequences."""

    def draw(rng: np.random.Generator, examples: int) -> tuple[np.ndarray, np.ndarray]:
        reference = rng.beta(6, 6, examples)
        return reference, reference - drop - spread * (rng.exponential(size=examples) - 1)

    return draw


def passes(reference: np.ndarray, candidate: np.ndarray) -> bool:
    """Whether the bound of the drop is within the tolerance, as the gate asks; of 0/1 scores by the test it inverts."""
    if is_binary(reference) and is_binary(candidate):
        lost, gained = int((reference > candidate).sum()), int((reference < candidate).sum())
        return _p_value(lost, gained, len(reference)) <= 1 - CONFIDENCE
    return compare(reference, candidate, CONFIDENCE).high <= TOLERANCE


@cache
def _p_value(lost: int, gained: int, examples: int) -> float:
    """The same few tables come again and again."""
    return paired.p_value(lost, gained, examples, TOLERANCE)


def wrongly_passed(draw: Draw, examples: int, seed: int) -> int:
    """Count the inferior candidates that pass."""
    rng = np.random.default_rng(seed)
    return sum(passes(*draw(rng, examples)) for _ in range(CASES))


def rightly_passed(draw: Draw, first: int, seed: int) -> tuple[int, int]:
    """Count the equal candidates that pass with as many examples as the gate asked for, and the median of these.

    Only first looks that leave the gate in doubt count, for only they come with a number; the second look is at other
    examples.
    """
    rng, passed, asked = np.random.default_rng(seed), 0, []
    while len(asked) < CASES:
        scores = draw(rng, first)
        if (scores[0] - scores[1]).mean() < TOLERANCE and not passes(*scores):
            asked.append(_asked(*scores))
            passed += passes(*draw(rng, asked[-1]))
    return passed, int(np.median(asked))


def harmed(examples: int, seed: int) -> int:
    """Count the equal candidates of which any class of ten is said to be harmed."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(CASES):
        p_values = [p_value_of_harm(*answers(0.02, 0.0)(rng, examples // 10), TOLERANCE) for _ in range(10)]
        found += min(holm(p_values)) <= 1 - CONFIDENCE
    return found


def main() -> None:
    """Print the tables."""
    print("| scores | changed answers | examples | inferior models that passed (95 % interval) |")
    print("|---|---|---|---|")
    for gained in (0.0, 0.01, 0.05):
        for examples in (300, 1000, 5000):
            share = f"{100 * (2 * gained + TOLERANCE):.0f} %"
            _row(
                "right or wrong", share, f"{examples:,}", wrongly_passed(answers(gained, TOLERANCE), examples, examples)
            )
    for examples in (100, 400):
        _row("a share, skewed", "all", f"{examples:,}", wrongly_passed(shares(0.05, TOLERANCE), examples, examples))
    print("\n| changed answers | examples at first | asked for (median) | equal models that passed (95 % interval) |")
    print("|---|---|---|---|")
    for gained in (0.005, 0.01, 0.03):
        for first in (300, 1000):
            passed, asked = rightly_passed(answers(gained, 0.0), first, first)
            _row(f"{200 * gained:.0f} %", f"{first:,}", f"{asked:,}", passed)
    print("\n| examples a class | equal models of which a class was said to be harmed (95 % interval) |")
    print("|---|---|")
    for examples in (1000, 3000):
        _row(f"{examples // 10}", harmed(examples, examples))


def _asked(reference: np.ndarray, candidate: np.ndarray) -> int:
    differences, count = reference - candidate, len(reference)
    seen = Comparison(
        reference=float(reference.mean()),
        candidate=float(candidate.mean()),
        drop=float(differences.mean()),
        low=-1.0,  # the bounds have no part in how many examples are needed
        high=1.0,
        confidence=CONFIDENCE,
        examples=count,
        lost=int((differences > 0).sum()),
        gained=int((differences < 0).sum()),
        spread=float(differences.std(ddof=1)),
    )
    return max(seen.examples_needed(TOLERANCE), count + 1)


def _row(*cells: str | int) -> None:
    *told, count = cells
    found = mean_interval(np.arange(CASES) < int(count))
    print(
        f"| {' | '.join(map(str, told))} | {100 * found.value:.1f} % ({100 * found.low:.1f} – {100 * found.high:.1f})"
        " |",
        flush=True,
    )


if __name__ == "__main__":
    main()
