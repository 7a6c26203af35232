"""Whether a window's summary differs from its reference's by more than chance, at a stated rate of false alarms.

Where the sample of either holds every row, all tests are calibrated together by permutation of the samples (see
`permutation`): exact at any size. Where both are larger, each column is tested on all rows, by Kolmogorov-Smirnov and
chi-square with their limiting distributions and Bonferroni's correction, on half of the false-alarm rate; joint tests
look at the samples, on the other half; the sum over all bins is left out, since among so many rows single columns show.
Labels come late and not for all rows: what needs them is tested on the rows that have them, on a share of the rate too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprune.config.drift import LATE, DriftPolicy, Group
from reprune.drift import asymptotic, effect_sizes
from reprune.drift.accuracy import quality
from reprune.drift.binning import Field
from reprune.drift.drift_report import DriftReport, DriftTest, Method
from reprune.drift.histograms import histograms
from reprune.drift.multivariate import Conditional, Dependence, MaximumMeanDiscrepancy
from reprune.drift.permutation import Kind, calibrate
from reprune.drift.statistics import ChiSquare, LocationSpreadShape, Statistic, standardized
from reprune.drift.window_summary import Summary
from reprune.errors import InputError

JOINT: dict[Group, dict[Method, str]] = {
    "inputs": {
        "dependence": "correlations of inputs",
        "given the others": "each input given the others",
    },
    "embeddings": {"MMD²": "embeddings jointly", "dependence": "correlations of embeddings"},
}
"""Groups whose numbers are also, or only, looked at together, and how."""

WEIGHTS: dict[Group, dict[Method, float]] = {
    "inputs": {"location, spread, shape": 5.0, "chi-square": 1.25, "summed bins": 0.4}
}
"""Weights of tests among the false alarms of their group, where they are not 1: inputs move column by column most
often (docs/benchmarks/drift.md says what they were chosen on)."""

GROUPS: dict[str, float] = {"inputs": 2.0}
"""Weights of groups among all false alarms, where they are not 1: inputs are looked at in most ways."""

JOINT_ROWS = 1000
"""Rows of either sample that joint tests look at where both data are larger than their samples: their cost grows with
the square."""

FURTHEST = 128.0
"""Scales beyond which an outlier counts as that far in joint tests."""

UNSEEN = 1e-3
"""Chance at which a category of the window is missing from the reference that is as likely there."""


@dataclass(frozen=True)
class Named:
    """What a test is of: a name, a group, a method, and the column, if it is of one."""

    name: str
    group: Group
    method: Method
    column: int | None = None


def judge(
    reference: Summary, window: Summary, policy: DriftPolicy | None = None, *, seed: int = 0, notes: Sequence[str] = ()
) -> DriftReport:
    """Compare a window with its reference.

    Args:
        reference: Of the data that the window should look like.
        window: Summarised in the reference's frame, or some columns of it.
        policy: False-alarm rate, guard of small samples, what is watched.
        seed: Seed of the permutations.
        notes: Passed on to the report.

    Raises:
        InputError: The window was summarised for another reference, or nothing of it is watched.
    """
    policy = policy or DriftPolicy()
    accuracy = quality(reference, window, labelled="quality" in policy.watch, seed=seed)
    reference, window = _aligned(reference, window, policy)
    if min(reference.rows, window.rows) < policy.minimum_examples:
        return inconclusive(reference.rows, window.rows, policy, notes)
    stages = [stage for stage in _stages(reference, window, policy) if stage.tests]
    rate = policy.false_alarm_rate / len(stages)
    found = [test for stage in stages for test in stage.run(rate, len(stages), reference, window, seed)]
    tests = tuple(sorted(found, key=lambda t: (t.adjusted_p_value, -t.statistic / max(t.threshold, 1e-12))))
    alarmed = any(test.alarm for test in tests)
    numbers = [i for i, field in enumerate(reference.frame.fields) if not field.categorical and field.group in JOINT]
    return DriftReport(
        verdict="drift" if alarmed else "no drift",
        summary=_in_words(tests, window.rows),
        false_alarm_rate=policy.false_alarm_rate,
        reference_examples=reference.rows,
        window_examples=window.rows,
        tests=tests,
        histograms=histograms([test.name for test in tests], reference, window),
        separability=effect_sizes.separability(reference, window, numbers) if alarmed else None,
        quality=accuracy,
        notes=tuple(notes),
    )


def watched(summary: Summary, policy: DriftPolicy) -> Summary:
    """Return the summary of the columns that a policy watches.

    Raises:
        InputError: There are none.
    """
    names = [field.name for field in summary.frame.fields if field.group in policy.watch]
    if not names:
        raise InputError(
            f"Nothing is watched: no column is of {' or '.join(policy.watch)}.",
            "Watch groups that there are (drift.watch, --watch), or write what is watched.",
        )
    return summary.only(names)


def inconclusive(reference: int, window: int, policy: DriftPolicy, notes: Sequence[str] = ()) -> DriftReport:
    """Return the report of too few examples."""
    return DriftReport(
        verdict="inconclusive",
        summary=f"inconclusive: {window:,} example{'s' if window != 1 else ''} against {reference:,}, "
        f"fewer than the {policy.minimum_examples} that anything is concluded from",
        false_alarm_rate=policy.false_alarm_rate,
        reference_examples=reference,
        window_examples=window,
        notes=tuple(notes),
    )


def _aligned(reference: Summary, window: Summary, policy: DriftPolicy) -> tuple[Summary, Summary]:
    window = watched(window, policy)
    reference = reference.only([field.name for field in window.frame.fields])
    if reference.frame != window.frame:
        raise InputError(
            "The window was summarised for another reference.",
            "Summarise it for the reference that it is compared with.",
        )
    return reference, window


@dataclass(frozen=True)
class Stage:
    """Tests that are calibrated together.

    Attributes:
        tests: What they are.
        reference: Rows of the reference's sample that they look at; None for all rows, by counts.
        window: Likewise.
    """

    tests: tuple[Named, ...]
    reference: NDArray[np.bool_] | None
    window: NDArray[np.bool_] | None

    def run(self, rate: float, stages: int, reference: Summary, window: Summary, seed: int) -> list[DriftTest]:
        """Return what the tests found, with p-values adjusted for all stages."""
        if self.reference is None or self.window is None:
            columns = [test.column for test in self.tests if test.column is not None]
            calibrated = asymptotic.calibrate(reference, window, columns, false_alarm_rate=rate)
            sizes = reference.rows, window.rows
        else:
            fields = reference.frame.fields
            pooled = np.concatenate([reference.sample[self.reference], window.sample[self.window]])
            sizes = int(self.reference.sum()), int(self.window.sum())
            calibrated = calibrate(
                _statistics(self.tests, fields, pooled, _rare(*sizes)),
                [Kind(t.group, t.method, WEIGHTS.get(t.group, {}).get(t.method, 1.0)) for t in self.tests],
                reference=sizes[0],
                window=sizes[1],
                false_alarm_rate=rate,
                seed=seed,
                groups=GROUPS,
            )
        return [
            DriftTest(
                name=test.name,
                group=test.group,
                method=test.method,
                statistic=float(calibrated.observed[k]),
                threshold=float(calibrated.thresholds[k]),
                p_value=float(calibrated.p_values[k]),
                adjusted_p_value=min(1.0, stages * float(calibrated.adjusted_p_values[k])),
                reference_examples=sizes[0],
                window_examples=sizes[1],
                effect=None if test.column is None else effect_sizes.effect(reference, window, test.column),
                alarm=bool(calibrated.adjusted_p_values[k] <= rate),
            )
            for k, test in enumerate(self.tests)
        ]


SUMMED = Named("all inputs, bin by bin", "inputs", "summed bins")
"""Right after the tests of the single columns, whose sums it uses."""


def _stages(reference: Summary, window: Summary, policy: DriftPolicy) -> list[Stage]:
    fields = list(enumerate(reference.frame.fields))
    complete = reference.complete or window.complete
    late = [i for i, f in fields if f.group in LATE and _partial(reference, window, i)]
    alone = [(i, f) for i, f in fields if f.group != "embeddings" and i not in late]
    amounts, categories = (
        tuple(
            Named(f.name, f.group, _method(f) if complete or f.categorical else "Kolmogorov-Smirnov", i)
            for i, f in alone
            if f.categorical is categorical
        )
        for categorical in (False, True)
    )
    summed = (SUMMED,) if complete and len(_numbers(reference.frame.fields, "inputs")) > 1 else ()
    marginal = amounts + summed + categories
    joint = tuple(
        Named(name, group, method)
        for group, names in JOINT.items()
        if len(_numbers(reference.frame.fields, group)) > 1
        for method, name in names.items()
    )
    rows = [np.arange(len(summary.sample)) for summary in (reference, window)]
    stages = (
        [Stage(marginal + joint, *(place >= 0 for place in rows))]
        if complete
        else [Stage(marginal, None, None), Stage(joint, *(place < JOINT_ROWS for place in rows))]
    )
    late.sort(key=lambda i: reference.frame.fields[i].categorical)
    known = [np.asarray((~np.isnan(part.sample[:, late])).all(axis=1)) for part in (reference, window)]
    if late and min(rows.sum() for rows in known) >= policy.minimum_examples:
        tests = (
            Named(
                reference.frame.fields[i].name, reference.frame.fields[i].group, _method(reference.frame.fields[i]), i
            )
            for i in late
        )
        stages.append(Stage(tuple(tests), *known))
    return stages


def _method(field: Field) -> Method:
    return "chi-square" if field.categorical else "location, spread, shape"


def _partial(reference: Summary, window: Summary, column: int) -> bool:
    return bool(reference.counts[column][-1] or window.counts[column][-1])


def _numbers(fields: Sequence[Field], group: Group) -> list[int]:
    return [i for i, field in enumerate(fields) if field.group == group and not field.categorical]


def _rare(reference: int, window: int) -> int:
    """Return the fewest rows of a category, in both samples, of which the reference hardly lacks all by chance."""
    return math.ceil(math.log(UNSEEN) / math.log(window / (reference + window)))


def _statistics(
    tests: Sequence[Named], fields: Sequence[Field], pooled: NDArray[np.float64], rare: int
) -> list[Statistic]:
    """Return the statistics of the tests, in their order."""
    amounts = [test.column for test in tests if test.column is not None and test.method == "location, spread, shape"]
    together = [k for k, column in enumerate(amounts) if SUMMED in tests and fields[column].group == SUMMED.group]
    statistics: list[Statistic] = [LocationSpreadShape(pooled[:, amounts], together)] if amounts else []
    for test in tests:
        if test.method == "chi-square" and test.column is not None:
            unknown = len(fields[test.column].categories)
            statistics.append(ChiSquare(pooled[:, test.column], unknown=unknown, rare=rare))
    for test in tests:
        columns = _numbers(fields, test.group)
        if test.method == "MMD²":
            units = np.array([[fields[i].centre, fields[i].scale] for i in columns])
            scaled = np.clip((pooled[:, columns] - units[:, 0]) / units[:, 1], -FURTHEST, FURTHEST)
            statistics.append(MaximumMeanDiscrepancy(standardized(scaled)))
        elif test.method == "dependence":
            statistics.append(Dependence(pooled[:, columns]))
        elif test.method == "given the others":
            statistics.append(Conditional(pooled[:, columns]))
    return statistics


def _in_words(tests: tuple[DriftTest, ...], examples: int) -> str:
    """Return one line: ``drift: confidence (p 0.0005) and 4 more of 74 tests on 180 examples``."""
    first, alarms = tests[0], sum(test.alarm for test in tests)
    if not alarms:
        return f"no drift: {len(tests)} tests on {examples:,} examples, smallest p {first.adjusted_p_value:.2g}"
    more = f" and {alarms - 1} more of {len(tests)} tests" if alarms > 1 else f", 1 of {len(tests)} tests,"
    return f"drift: {first.name} (p {first.adjusted_p_value:.2g}){more} on {examples:,} examples"
