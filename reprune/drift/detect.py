"""Comparing a window of production data with the champion's reference."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reprune.drift.features import Sample, sample
from reprune.drift.permutation import Calibrated, calibrate
from reprune.drift.policy import DriftPolicy, Group
from reprune.drift.reference import LIMIT, Reference
from reprune.drift.statistics import (
    KolmogorovSmirnov,
    LikelihoodRatio,
    MaximumMeanDiscrepancy,
    Statistic,
    standardized,
)
from reprune.drift.verdict import DriftReport, DriftTest, Histogram
from reprune.errors import InputError
from reprune.tasks import Task

MOVERS = 6
BINS = 20

Method = Literal["Kolmogorov-Smirnov", "G", "MMD²"]
Named = tuple[str, Group, Method, int | None]
"""A test's name, group and method, and the column that it looks at."""


def detect(
    reference: Reference, window: Any, model: Path, task: Task, policy: DriftPolicy | None = None, *, seed: int = 0
) -> DriftReport:
    """Compare a window with the reference.

    Args:
        reference: Frozen with the champion.
        window: Map-style dataset of production data; a seeded sample of at most 2,000 of it is looked at.
        model: The champion's ONNX file.
        task: The workload's task.
        policy: False-alarm rate, guard of small samples, what is watched.
        seed: Seed of the sample and of the permutations.

    Raises:
        InputError: The window does not look like inputs of this model at all, or has values that are not finite.
        IntegrityError: The reference belongs to another model.
    """
    policy = policy or DriftPolicy()
    reference.belongs_to(model)
    if not len(window):
        return _inconclusive(len(reference.sample), 0, policy)
    found = sample(window, model, task, limit=LIMIT, seed=seed, name="production")
    return compare(reference.sample, found, policy, seed=seed)


def compare(reference: Sample, window: Sample, policy: DriftPolicy, *, seed: int = 0) -> DriftReport:
    """Compare two samples of the same columns.

    Raises:
        InputError: They are not of the same columns.
    """
    reference, window = _aligned(reference, window)
    if min(len(reference), len(window)) < policy.minimum_examples:
        return _inconclusive(len(reference), len(window), policy)
    pooled = np.concatenate([reference.values, window.values])
    names, statistics = _tests(reference, pooled, policy)
    calibrated = calibrate(
        statistics,
        reference=len(reference),
        window=len(window),
        false_alarm_rate=policy.false_alarm_rate,
        seed=seed,
    )
    tests = _ranked(names, calibrated, reference, window, policy)
    alarms = [test for test in tests if test.alarm]
    return DriftReport(
        verdict="drift" if alarms else "no drift",
        summary=_in_words(tests, len(window)),
        false_alarm_rate=policy.false_alarm_rate,
        reference_examples=len(reference),
        window_examples=len(window),
        tests=tests,
        histograms=_histograms(tests, reference, window),
    )


def _aligned(reference: Sample, window: Sample) -> tuple[Sample, Sample]:
    """Return both samples with the same columns; labels are left out unless both have the same kind of them."""
    if reference.shapes != window.shapes:
        raise InputError(
            f"production: its inputs are {window.shapes}, the champion's reference has {reference.shapes}.",
            "Give inputs of the shape and type that the champion was trained on.",
        )
    shared = tuple(column for column in reference.columns if column in window.columns)
    if {c for c in (*reference.columns, *window.columns) if c not in shared and c.group != "labels"}:
        raise InputError(
            "production: the task watches other things than when the champion was promoted.",
            "Promote a champion anew (`--force`): its reference is frozen with it.",
        )
    return reference.only(shared), window.only(shared)


def _tests(reference: Sample, pooled: NDArray[np.float32], policy: DriftPolicy) -> tuple[list[Named], list[Statistic]]:
    watched = [(i, c) for i, c in enumerate(reference.columns) if c.group in policy.watch]
    amounts = [(i, c) for i, c in watched if not c.categorical]
    names: list[Named] = [(c.name, c.group, "Kolmogorov-Smirnov", i) for i, c in amounts]
    statistics: list[Statistic] = [KolmogorovSmirnov(pooled[:, [i for i, _ in amounts]])] if amounts else []
    for i, column in watched:
        if column.categorical:
            names.append((column.name, column.group, "G", i))
            statistics.append(LikelihoodRatio(pooled[:, i]))
    inputs = [i for i, c in amounts if c.group == "inputs"]
    if len(inputs) > 1:
        names.append(("all inputs jointly", "inputs", "MMD²", None))
        statistics.append(MaximumMeanDiscrepancy(standardized(pooled[:, inputs])))
    return names, statistics


def _ranked(
    names: list[Named], calibrated: Calibrated, reference: Sample, window: Sample, policy: DriftPolicy
) -> tuple[DriftTest, ...]:
    tests = [
        DriftTest(
            name=name,
            group=group,
            method=method,
            statistic=float(calibrated.observed[k]),
            threshold=float(calibrated.thresholds[k]),
            p_value=float(calibrated.p_values[k]),
            adjusted_p_value=float(calibrated.adjusted_p_values[k]),
            shift=None if i is None or reference.columns[i].categorical else _shift(reference, window, i),
            alarm=bool(calibrated.adjusted_p_values[k] <= policy.false_alarm_rate),
        )
        for k, (name, group, method, i) in enumerate(names)
    ]
    return tuple(sorted(tests, key=lambda t: (t.adjusted_p_value, -t.statistic / max(t.threshold, 1e-12))))


def _shift(reference: Sample, window: Sample, column: int) -> float | None:
    before, now = reference.values[:, column].astype(np.float64), window.values[:, column].astype(np.float64)
    return float((now.mean() - before.mean()) / before.std()) if before.std() > 0 else None


def _histograms(tests: tuple[DriftTest, ...], reference: Sample, window: Sample) -> tuple[Histogram, ...]:
    places = {column.name: i for i, column in enumerate(reference.columns)}
    movers = [test.name for test in tests if test.name in places][:MOVERS]
    return tuple(
        _histogram(
            name,
            reference.columns[i].categorical,
            reference.values[:, i].astype(float),
            window.values[:, i].astype(float),
        )
        for name in movers
        for i in [places[name]]
    )


def _histogram(name: str, categorical: bool, before: NDArray[np.float64], now: NDArray[np.float64]) -> Histogram:
    pooled = np.concatenate([before, now])
    if categorical:
        edges = np.unique(pooled)
        shares = [[float((part == edge).mean()) for edge in edges] for part in (before, now)]
    else:
        edges = np.histogram_bin_edges(pooled, bins=BINS)
        shares = [(np.histogram(part, edges)[0] / len(part)).tolist() for part in (before, now)]
    return Histogram(name=name, categorical=categorical, edges=edges.tolist(), reference=shares[0], window=shares[1])


def _in_words(tests: tuple[DriftTest, ...], examples: int) -> str:
    """Return one line: ``drift: confidence (p 0.0005) and 4 more of 74 tests on 180 examples``."""
    first, alarms = tests[0], sum(test.alarm for test in tests)
    if not alarms:
        return f"no drift: {len(tests)} tests on {examples:,} examples, smallest p {first.adjusted_p_value:.2g}"
    more = f" and {alarms - 1} more of {len(tests)} tests" if alarms > 1 else f", 1 of {len(tests)} tests,"
    return f"drift: {first.name} (p {first.adjusted_p_value:.2g}){more} on {examples:,} examples"


def _inconclusive(reference: int, window: int, policy: DriftPolicy) -> DriftReport:
    return DriftReport(
        verdict="inconclusive",
        summary=f"inconclusive: {window:,} example{'s' if window != 1 else ''} against {reference:,}, "
        f"fewer than the {policy.minimum_examples} that anything is concluded from",
        false_alarm_rate=policy.false_alarm_rate,
        reference_examples=reference,
        window_examples=window,
    )
