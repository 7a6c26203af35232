"""Comparing a window of production data, as examples, with the champion's reference."""

from pathlib import Path

import numpy as np

from reprune.config.drift import DriftPolicy
from reprune.data.signals import Signals
from reprune.drift.binning import Frame
from reprune.drift.columns import Categories, Chunk, Values, agreement
from reprune.drift.drift_report import DriftReport
from reprune.drift.features import Column, Examples, Sample, sample
from reprune.drift.reference import LIMIT, Reference
from reprune.drift.two_sample import inconclusive, judge
from reprune.drift.window_summary import Summary, summarize
from reprune.errors import InputError

LATER = ("labels", "embeddings")
"""Groups that one of two samples may lack: labels are late, and older references know no embeddings."""


def detect(
    reference: Reference,
    window: Examples,
    model: Path,
    signals: Signals,
    policy: DriftPolicy | None = None,
    *,
    seed: int = 0,
) -> DriftReport:
    """Compare a window with the reference.

    Args:
        reference: Frozen with the champion.
        window: Production data; a seeded sample of at most 2,000 of it is looked at.
        model: The champion's ONNX file.
        signals: The task's: what of predictions is watched.
        policy: False-alarm rate, guard of small samples, what is watched.
        seed: Seed of the sample and of the permutations.

    Raises:
        InputError: The window does not look like inputs of this model at all, or has values that are not finite.
        IntegrityError: The reference belongs to another model.
    """
    policy = policy or DriftPolicy()
    if not len(window):
        reference.belongs_to(model)
        return inconclusive(len(reference.sample), 0, policy)
    return compare(reference.sample, observe(reference, window, model, signals, seed=seed), policy, seed=seed)


def observe(reference: Reference, window: Examples, model: Path, signals: Signals, *, seed: int = 0) -> Sample:
    """Return what a reference watches of a window; see `detect`."""
    reference.belongs_to(model)
    embed = any(column.group == "embeddings" for column in reference.sample.columns)
    return sample(window, model, signals, limit=LIMIT, seed=seed, name="production", embed=embed)


def compare(reference: Sample, window: Sample, policy: DriftPolicy, *, seed: int = 0) -> DriftReport:
    """Compare two samples of the same columns.

    Raises:
        InputError: They are not of the same columns.
    """
    return judge(*summaries(reference, window), policy, seed=seed)


def summaries(reference: Sample, window: Sample, *, name: str = "window") -> tuple[Summary, Summary]:
    """Return the summaries of a reference and a window, of the columns that the window has.

    Args:
        reference: With its labels, even where the window has none.
        window: Of the same columns.
        name: Of the window, another for every one that it may be merged with.

    Raises:
        InputError: They are not of the same columns.
    """
    _, window = _aligned(reference, window)
    known = summary(reference)  # accuracy is estimated from its labels
    names = {column.name for column in window.columns}
    present = tuple(
        it.name for it in known.frame.fields if it.name in names or (it.name == "correct" and "label" in names)
    )
    return known, summary(window, known.frame.only(present), name=name)


def summary(sample: Sample, frame: Frame | None = None, *, name: str = "sample") -> Summary:
    """Return the summary of a sample; it holds every example.

    Args:
        sample: At most 2,000 examples.
        frame: The reference's; by default the sample is the reference.
        name: Of the sample, another for every one that it may be merged with.
    """
    columns = {column.name: _values(sample, i, column) for i, column in enumerate(sample.columns)}
    groups = {column.name: column.group for column in sample.columns}
    said, truth = columns.get("predicted_class"), columns.get("label")
    if isinstance(said, Categories) and isinstance(truth, Categories):
        columns["correct"], groups["correct"] = agreement(said, truth), "quality"
    return summarize([Chunk(columns, name)], frame or Frame.of(columns, groups))


def _values(sample: Sample, i: int, column: Column) -> Values:
    values = sample.values[:, i].astype(np.float64)
    if not column.categorical:
        return values
    names, codes = np.unique(values, return_inverse=True)
    return Categories(codes.astype(np.int64), tuple(f"{name:.0f}" for name in names))


def _aligned(reference: Sample, window: Sample) -> tuple[Sample, Sample]:
    """Return both samples with the same columns."""
    if reference.shapes != window.shapes:
        raise InputError(
            f"production: its inputs are {window.shapes}, the champion's reference has {reference.shapes}.",
            "Give inputs of the shape and type that the champion was trained on.",
        )
    shared = tuple(column for column in reference.columns if column in window.columns)
    if {c for c in (*reference.columns, *window.columns) if c not in shared and c.group not in LATER}:
        raise InputError(
            "production: the task watches other things than when the champion was promoted.",
            "Promote a champion anew (`--force`): its reference is frozen with it.",
        )
    return reference.only(shared), window.only(shared)
