"""What Great Expectations asks of every split: a suite of the user's, or one inferred from a reference, what is normal.

What is inferred holds amounts to coarse limits, which find another unit, another scale or swapped columns; what moved a
little is for the drift tests to say.
"""
# mypy: disable-error-code="attr-defined"
# (Great Expectations re-exports its expectations without saying so.)

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
from great_expectations.exceptions import GreatExpectationsError
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity
from scipy.stats import chi2

from reprune.errors import InputError

RANGE_SLACK = 0.5
"""Values may lie this share of the reference's range outside of it ..."""
MOSTLY = 0.99
"""... and one in a hundred may lie anywhere."""
MEAN_SLACK = 1.0
"""A column's mean may move by this many standard deviations, beside four standard errors."""
BALANCE_SLACK = 0.05
"""The divergence from the reference's class balance, in nats, that is let pass beside what chance gives."""
BALANCE_CHANCE = 0.001
MOST_CLASSES = 100
FEW_EXAMPLES = 30


def suites(
    frames: Mapping[str, pd.DataFrame],
    reference: pd.DataFrame,
    given: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, list[Expectation]]:
    """Return what is expected of each split: what was given for it, otherwise what is inferred.

    A train split that gives other inputs each time is held to nothing, unless that was given.

    Args:
        frames: The splits as tables.
        reference: What is normal, as a table.
        given: Suites by split, as `written` gives them.

    Raises:
        InputError: A given expectation is none.
    """
    found = {}
    for split, frame in frames.items():
        if split in given:
            found[split] = [_read(item, split, number) for number, item in enumerate(given[split])]
        elif split != "train" or reference is frame:
            found[split] = expectations(reference, len(frame), split)
    return found


def written(suite: Sequence[Expectation]) -> list[dict[str, Any]]:
    """Return expectations as JSON, in Great Expectations' own words: ``type``, ``kwargs``, ``severity``."""
    return [item.configuration.to_json_dict() for item in suite]


def _read(item: Mapping[str, Any], split: str, number: int) -> Expectation:
    try:
        return ExpectationConfiguration(**item).to_domain_obj()
    except (GreatExpectationsError, ValueError, TypeError) as error:
        raise InputError(
            f"expectations.{split}: number {number + 1} is no expectation: {' '.join(str(error).split())}",
            "Each has a type, kwargs and a severity (critical, warning or info); `reprune expectations` writes some.",
        ) from None


def expectations(reference: pd.DataFrame, examples: int, split: str) -> list[Expectation]:
    """Return what is expected of a split.

    Args:
        reference: What is normal, as a table.
        examples: Rows of the split, which set how far chance may move it.
        split: Its name. Production is never held to critical expectations, nor its labels to anything: whether it has
            drifted is for the drift tests to say.
    """
    production = split == "production"
    blocking = FailureSeverity.WARNING if production else FailureSeverity.CRITICAL
    names = [column for column in reference.columns if not (production and column.startswith("target"))]
    found: list[Expectation] = [
        gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=not production, severity=blocking),
        gxe.ExpectTableRowCountToBeBetween(min_value=FEW_EXAMPLES, severity=FailureSeverity.WARNING),
    ]
    for column in names:
        is_class = (
            column == "target" and reference[column].dtype.kind in "iu" and reference[column].nunique() <= MOST_CLASSES
        )
        found += _present(reference[column], blocking)
        found += _classes(reference[column], examples) if is_class else _amounts(reference[column], examples)
    return found


def _present(reference: pd.Series, severity: FailureSeverity) -> Iterator[Expectation]:
    """Expect values of the same type, none of them missing."""
    yield gxe.ExpectColumnValuesToNotBeNull(column=str(reference.name), severity=severity)
    yield gxe.ExpectColumnValuesToBeOfType(column=str(reference.name), type_=str(reference.dtype), severity=severity)


def _amounts(reference: pd.Series, examples: int) -> Iterator[Expectation]:
    """Expect values in about the reference's range, and about the reference's mean."""
    values = reference.to_numpy(dtype=float)
    slack, spread = RANGE_SLACK * float(np.ptp(values)), float(values.std())
    moved = MEAN_SLACK * spread + 4 * spread / np.sqrt(examples)
    yield gxe.ExpectColumnValuesToBeBetween(
        column=str(reference.name),
        min_value=float(values.min()) - slack,
        max_value=float(values.max()) + slack,
        mostly=MOSTLY,
        severity=FailureSeverity.WARNING,
    )
    yield gxe.ExpectColumnMeanToBeBetween(
        column=str(reference.name),
        min_value=float(values.mean() - moved),
        max_value=float(values.mean() + moved),
        severity=FailureSeverity.WARNING,
    )


def _classes(reference: pd.Series, examples: int) -> Iterator[Expectation]:
    """Expect only the reference's classes, in about its balance: 2 n KL is chi-square where nothing differs."""
    shares = reference.value_counts(normalize=True).sort_index()
    values = [int(label) for label in shares.index]
    yield gxe.ExpectColumnValuesToBeInSet(column="target", value_set=values, severity=FailureSeverity.CRITICAL)
    if len(values) > 1:
        yield gxe.ExpectColumnKLDivergenceToBeLessThan(
            column="target",
            partition_object={"values": values, "weights": shares.tolist()},
            threshold=BALANCE_SLACK + float(chi2.isf(BALANCE_CHANCE, len(values) - 1)) / (2 * examples),
            severity=FailureSeverity.WARNING,
        )
