"""Simulate how often the gate is wrong.

    python -m benchmarks.gate.simulate [table ...]      # some ten minutes on one core

An error is an inferior model that passes, or an equal one that fails with the number of examples the gate asked for.
Prints the tables of ``docs/benchmarks/gate.md`` and writes ``simulated.json``.
"""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from reprune.gate import paired_test
from reprune.gate.calibration_error import calibration_rise, expected_error, reliability
from reprune.gate.confidence_intervals import Comparison, compare, holm, is_binary, mean_interval, p_value_of_harm

CASES = 1000
CONFIDENCE = 0.95
TOLERANCE = 0.01
CLASSES = 10
POPULATION = 4_000_000

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def answers(gained: float, drop: float, right: float = 0.9) -> Draw:
    """Return a draw of 0/1 scores: the candidate gains and loses these shares."""

    def draw(rng: np.random.Generator, examples: int) -> tuple[np.ndarray, np.ndarray]:
        place = rng.random(examples)
        lost, won = place < gained + drop, place > 1 - gained
        both = rng.random(examples) < right
        return np.where(lost, 1.0, np.where(won, 0.0, both)), np.where(lost, 0.0, np.where(won, 1.0, both))

    return draw


def shares(spread: float, drop: float) -> Draw:
    """Return a draw of two language models' next-token accuracies, by sequence.

    Their differences are skewed.
    """

    def draw(rng: np.random.Generator, examples: int) -> tuple[np.ndarray, np.ndarray]:
        reference = rng.beta(6, 6, examples)
        return reference, reference - drop - spread * (rng.exponential(size=examples) - 1)

    return draw


def passes(reference: np.ndarray, candidate: np.ndarray) -> bool:
    """Return whether the gate passes the candidate: its bound is within tolerance.

    For 0/1 scores, the test that the gate's bound inverts is used.
    """
    if is_binary(reference) and is_binary(candidate):
        lost, gained = int((reference > candidate).sum()), int((reference < candidate).sum())
        return _p_value(lost, gained, len(reference)) <= 1 - CONFIDENCE
    return compare(reference, candidate, CONFIDENCE).high <= TOLERANCE


@cache
def _p_value(lost: int, gained: int, examples: int) -> float:
    """Return the gate's p-value, computed once for the same counts."""
    return paired_test.p_value(lost, gained, examples, TOLERANCE)


def wrongly_passed(draw: Draw, examples: int, seed: int) -> int:
    """Count the inferior candidates that pass."""
    rng = np.random.default_rng(seed)
    return sum(passes(*draw(rng, examples)) for _ in range(CASES))


def rightly_passed(draw: Draw, first: int, seed: int) -> tuple[int, int]:
    """Count the equal candidates that pass with the number of examples asked for.

    Only inconclusive first tests count, since only these ask for a number of examples; the second test has other
    examples.

    Returns:
        The count, and the median number of examples asked for.
    """
    rng, passed, asked = np.random.default_rng(seed), 0, []
    while len(asked) < CASES:
        scores = draw(rng, first)
        if (scores[0] - scores[1]).mean() < TOLERANCE and not passes(*scores):
            asked.append(_asked(*scores))
            passed += passes(*draw(rng, asked[-1]))
    return passed, int(np.median(asked))


def harmed(examples: int, seed: int) -> int:
    """Count the equal candidates with any class of ten reported as harmed."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(CASES):
        p_values = [_p_value_of_harm(*answers(0.02, 0.0)(rng, examples // CLASSES)) for _ in range(CLASSES)]
        found += min(holm(p_values)) <= 1 - CONFIDENCE
    return found


def _p_value_of_harm(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Return the gate's p-value of harm, computed once for the same counts."""
    return _of_harm(int((reference > candidate).sum()), int((reference < candidate).sum()), len(reference))


@cache
def _of_harm(lost: int, gained: int, examples: int) -> float:
    reference, candidate = np.zeros(examples), np.zeros(examples)
    reference[:lost], candidate[lost : lost + gained] = 1.0, 1.0
    return p_value_of_harm(reference, candidate, TOLERANCE)


def found(examples: int, drop: float, seed: int) -> int:
    """Count the candidates whose one harmed class of ten is named."""
    rng, named = np.random.default_rng(seed), 0
    for _ in range(CASES):
        drops = [drop, *[0.0] * (CLASSES - 1)]
        p_values = [_p_value_of_harm(*answers(0.01, it)(rng, examples)) for it in drops]
        named += holm(p_values)[0] <= 1 - CONFIDENCE
    return named


def sure(rng: np.random.Generator, examples: int, dense: float, candidate: float) -> tuple[np.ndarray, ...]:
    """Draw confidence and correctness of dense and candidate.

    Their log-odds are too large by these factors.
    """
    odds = rng.normal(2.2, 1.5, examples)
    moved = odds + rng.normal(0, 0.3, examples)
    luck = rng.random(examples)
    own = np.where(rng.random(examples) < 0.9, luck, rng.random(examples))  # one example in ten is drawn again
    right = [(it < 1 / (1 + np.exp(-true))).astype(float) for it, true in ((luck, odds), (own, moved))]
    return 1 / (1 + np.exp(-dense * odds)), right[0], 1 / (1 + np.exp(-candidate * moved)), right[1]


def missed(examples: int, dense: float, candidate: float) -> tuple[float, int]:
    """Return the true rise of the calibration error, and how often its bound is below."""
    rng = np.random.default_rng(examples)
    population = sure(rng, POPULATION, dense, candidate)
    rise = expected_error(reliability(*population[2:])) - expected_error(reliability(*population[:2]))
    drawn = (sure(rng, examples, dense, candidate) for _ in range(CASES))
    return rise, sum(calibration_rise(*it, CONFIDENCE).high < rise for it in drawn)


def main() -> None:
    """Print all tables, or the named ones, and write their numbers."""
    tables: dict[str, Callable[[], list[list[str | int]]]] = {
        it.__name__: it for it in (inferior, equal, unharmed, power, calibrated)
    }
    written = Path(__file__).with_name("simulated.json")
    numbers = json.loads(written.read_text()) if written.exists() else {}
    for name in sys.argv[1:] or tables:
        numbers[name] = tables[name]()
        written.write_text(json.dumps(numbers, indent=1) + "\n")


def inferior() -> list[list[str | int]]:
    """Simulate candidates at the tolerance."""
    print("| scores | changed answers | examples | inferior models that passed (95 % interval) |\n|---|---|---|---|")
    rows = [
        _row(
            "right or wrong",
            f"{100 * (2 * gained + TOLERANCE):.0f} %",
            f"{examples:,}",
            wrongly_passed(answers(gained, TOLERANCE), examples, examples),
        )
        for gained in (0.0, 0.01, 0.05)
        for examples in (300, 1000, 5000)
    ]
    skewed = shares(0.05, TOLERANCE)
    return rows + [
        _row("a share, skewed", "all", f"{examples:,}", wrongly_passed(skewed, examples, examples))
        for examples in (100, 400)
    ]


def equal() -> list[list[str | int]]:
    """Simulate equal candidates with the number of examples asked for."""
    print("\n| changed answers | examples at first | asked for (median) | equal models that passed (95 % interval) |")
    print("|---|---|---|---|")
    rows = []
    for gained in (0.005, 0.01, 0.03):
        for first in (300, 1000):
            passed, asked = rightly_passed(answers(gained, 0.0), first, first)
            rows.append(_row(f"{200 * gained:.0f} %", f"{first:,}", f"{asked:,}", passed))
    return rows


def unharmed() -> list[list[str | int]]:
    """Simulate equal candidates, class by class."""
    print("\n| examples per class | equal models with a class reported as harmed (95 % interval) |\n|---|---|")
    return [_row(f"{examples // CLASSES}", harmed(examples, examples)) for examples in (1000, 3000)]


def power() -> list[list[str | int]]:
    """Simulate candidates that lose one class of ten."""
    print(
        "\n| the class loses | examples of the class | harmed classes that were named (95 % interval) |\n|---|---|---|"
    )
    return [
        _row(f"{100 * drop:.0f} points", f"{examples}", found(examples, drop, examples))
        for drop in (0.05, 0.1, 0.15, 0.3)
        for examples in (20, 50, 100, 200)
    ]


def calibrated() -> list[list[str | int]]:
    """Simulate models of known calibration."""
    print("\n| dense | candidate | true rise | examples | bounds below the true rise (95 % interval) |")
    print("|---|---|---|---|---|")
    labels = {1.0: "calibrated", 1.2: "somewhat overconfident", 1.6: "overconfident", 0.8: "underconfident"}
    rows = []
    for dense, candidate in ((1.0, 1.0), (1.0, 1.2), (1.0, 0.8), (1.2, 1.6)):
        rise, below = missed(300, dense, candidate)
        rows.append(_row(labels[dense], labels[candidate], f"{100 * abs(rise):.1f} points", "300", below))
    return rows


def _asked(reference: np.ndarray, candidate: np.ndarray) -> int:
    differences, count = reference - candidate, len(reference)
    seen = Comparison(
        reference=float(reference.mean()),
        candidate=float(candidate.mean()),
        drop=float(differences.mean()),
        low=-1.0,  # the bounds do not affect the number of examples
        high=1.0,
        confidence=CONFIDENCE,
        examples=count,
        lost=int((differences > 0).sum()),
        gained=int((differences < 0).sum()),
        spread=float(differences.std(ddof=1)),
    )
    return max(seen.examples_needed(TOLERANCE), count + 1)


def _row(*cells: str | int) -> list[str | int]:
    """Print a row, whose last cell is a count of cases, and return it."""
    *labels, count = cells
    found = mean_interval(np.arange(CASES) < int(count))
    print(
        f"| {' | '.join(map(str, labels))} | {100 * found.value:.1f} % ({100 * found.low:.1f} – {100 * found.high:.1f})"
        " |",
        flush=True,
    )
    return [*labels, int(count)]


if __name__ == "__main__":
    main()
