"""Accuracy estimated from confidence, and checked where labels come."""

import numpy as np

from reprune.config.drift import DriftPolicy
from reprune.drift.accuracy import quality
from reprune.drift.binning import Frame
from reprune.drift.columns import Categories, Chunk
from reprune.drift.two_sample import judge
from reprune.drift.window_summary import summarize

EVERYTHING = DriftPolicy(watch=("inputs", "predictions", "quality", "labels"))


def log(rng, rows, *, hard=0.2, wrong=0.0, labelled=1.0):
    """A model that is right as often as it says, 10 % too sure; ``wrong`` of all answers are wrong regardless."""
    chance = np.where(rng.random(rows) < hard, 0.55, 0.95)
    right = (rng.random(rows) < chance) & (rng.random(rows) >= wrong)
    known = rng.random(rows) < labelled
    said = ["yes" if r else "no" for r in right]
    columns = {
        "confidence": np.minimum(chance + 0.04 + rng.normal(0, 0.005, rows), 1),
        "correct": Categories.of([name if k else None for name, k in zip(said, known, strict=True)]),
    }
    return columns, right.mean()


def summaries(rng, **change):
    columns, _ = log(rng, 1500)
    frame = Frame.of(columns)
    now, accuracy = log(rng, 500, **change)
    return summarize([Chunk(columns, "reference")], frame), summarize([Chunk(now, "window")], frame), accuracy


def test_the_estimate_follows_harder_data_without_a_label_and_its_interval_holds_the_truth():
    inside = 0
    for seed in range(20):
        reference, window, accuracy = summaries(np.random.default_rng(seed), hard=0.6)
        found = quality(reference, window, labelled=False)
        low, high = found.estimated_interval
        inside += low <= accuracy <= high
        assert found.actual is None and found.estimated < found.reference - 0.05
    assert inside >= 17  # 19 are expected; fewer than 17 has a chance below 2 %


def test_late_labels_are_counted_and_tell_when_the_estimate_is_off():
    agreed = [quality(*summaries(np.random.default_rng(s), labelled=0.4)[:2], labelled=True).agrees for s in range(10)]
    assert sum(agreed) >= 8
    reference, window, _ = summaries(np.random.default_rng(1), wrong=0.3, labelled=0.4)
    found = quality(reference, window, labelled=True)
    assert not found.agrees and found.actual < found.estimated - 0.15
    assert found.actual_interval[0] < found.actual < found.actual_interval[1] and 150 < found.labelled < 250


def test_falling_accuracy_is_drift_on_the_rows_with_labels_alone():
    reference, window, _ = summaries(np.random.default_rng(2), wrong=0.3, labelled=0.4)
    report = judge(reference, window, EVERYTHING)
    alarms = {test.name: test for test in report.alarms}
    assert list(alarms) == ["correct"] and alarms["correct"].window_examples == report.quality.labelled
    reference, window, _ = summaries(np.random.default_rng(3), labelled=0.4)
    assert not judge(reference, window, EVERYTHING).drifted


def test_a_model_that_was_never_wrong_and_too_few_labels_are_no_trouble():
    rng = np.random.default_rng(4)
    columns = {"confidence": rng.random(200), "correct": Categories(np.ones(200, dtype=np.int64), ("no", "yes"))}
    frame = Frame.of(columns)
    reference = summarize([Chunk(columns, "reference")], frame)
    few = {"confidence": rng.random(100), "correct": Categories.of(["no"] * 20 + [None] * 80)}
    found = quality(reference, summarize([Chunk(few, "window")], frame), labelled=True)
    assert found.estimated == 1 and found.actual is None and found.labelled == 20
    enough = {"confidence": rng.random(100), "correct": Categories.of(["no"] * 100)}
    assert quality(reference, summarize([Chunk(enough, "window")], frame), labelled=True).actual == 0
