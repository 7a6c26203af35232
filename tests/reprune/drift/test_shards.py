"""Shards of a log, judged as one window."""

import numpy as np
import pytest

from reprune.config.drift import DriftPolicy
from reprune.drift.columns import Chunk
from reprune.drift.shards import judge_shards
from reprune.drift.window_summary import framed, summarize
from reprune.errors import InputError

POLICY = DriftPolicy(watch=("inputs",))


def chunk(rows, seed, source, shift=0.0):
    return Chunk({"age": np.random.default_rng(seed).normal(40 + shift, 10, rows)}, source)


@pytest.fixture
def reference():
    held_out = chunk(400, 0, "held out")
    return summarize([held_out], framed([held_out]))


def test_the_order_of_shards_does_not_matter_and_what_they_note_is_told_once(reference):
    parts = [summarize([chunk(rows, seed, f"file{seed}", 4.0)], reference.frame) for seed, rows in ((1, 20), (2, 90))]
    found = judge_shards(reference, parts, POLICY, notes=["no labels", "no labels"])
    assert found == judge_shards(reference, parts[::-1], POLICY, notes=["no labels"])
    assert (found.verdict, found.window_examples, found.notes) == ("drift", 110, ("no labels",))


def test_a_champion_promoted_meanwhile_is_no_reference_for_them(reference):
    other = chunk(400, 3, "another", 2.0)
    moved = summarize([other], framed([other]))
    part = summarize([chunk(100, 1, "file1")], reference.frame)
    with pytest.raises(InputError, match="another reference"):
        judge_shards(moved, [part], POLICY)
    with pytest.raises(InputError, match="different references"):
        judge_shards(moved, [part, summarize([chunk(100, 2, "file2")], moved.frame)], POLICY)
