"""Summaries merge exactly, count rightly, and come back from disk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprune.drift import histogram_bins, summary_file
from reprune.drift.binning import Frame
from reprune.drift.columns import Categories, Chunk
from reprune.drift.window_summary import LIMIT, framed, merge, summarize
from reprune.errors import InputError

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)
NAMES = st.sampled_from(["red", "green", "blue", "mauve", None])


def chunk(numbers, names, start=0, source="a"):
    return Chunk({"x": np.array(numbers, dtype=np.float64), "colour": Categories.of(names)}, source, start)


def in_bytes(summary, folder):
    summary_file.save(summary, folder / "summary.safetensors")
    return (folder / "summary.safetensors").read_bytes()


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.tuples(NUMBERS, NAMES), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_however_rows_are_dealt_the_merged_summary_is_the_same(rows, cuts, order, tmp_path_factory):
    numbers, names = zip(*rows, strict=True)
    frame = framed([chunk([0.0, 1.0, 2.5, -3e7, 1e-9], ["red", "green", "green", "blue", "red"])])
    ends = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = [summarize([chunk(numbers[a:b], names[a:b], start=a)], frame) for a, b in zip(ends, ends[1:], strict=False)]
    order.shuffle(parts)
    while len(parts) > 1:
        parts.append(merge(parts.pop(order.randrange(len(parts))), parts.pop(order.randrange(len(parts)))))
    folder = tmp_path_factory.getbasetemp()
    assert in_bytes(parts[0], folder) == in_bytes(summarize([chunk(numbers, names)], frame), folder)


def test_the_sample_is_bounded_uniform_and_the_same_in_any_order():
    rows = 30_000
    frame = Frame.of({"x": np.arange(rows, dtype=np.float64)})
    chunks = [Chunk({"x": np.arange(a, a + 5000, dtype=np.float64)}, "a", a) for a in range(0, rows, 5000)]
    forwards, backwards = summarize(chunks, frame), summarize(reversed(chunks), frame)
    assert forwards.rows == rows and len(forwards.sample) == LIMIT and not forwards.complete
    assert (forwards.sample == backwards.sample).all()
    shares = np.histogram(forwards.sample, bins=6, range=(0, rows))[0] / LIMIT
    assert np.abs(shares - 1 / 6).max() < 0.04


@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1), st.floats(-1e6, 1e6))
def test_cells_keep_the_order_of_numbers_and_lie_where_they_say(values, centre):
    values = np.sort(np.array(values))
    placed = histogram_bins.place(values, centre).astype(np.int64)
    assert (np.diff(placed) >= 0).all()
    with np.errstate(over="ignore"):
        distance = (values - centre).astype(np.float32).astype(np.float64)
    below, above = (histogram_bins.boundary(placed + i, 0.0) for i in (0, 1))
    assert ((below <= distance) & (distance <= above)).all()
    assert histogram_bins.count(values, centre, np.arange(histogram_bins.CELLS))[placed].min() >= 1


def test_counts_moments_and_extremes_are_those_of_the_values():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 5000)
    values[:100] = np.nan
    frame = framed([Chunk({"x": values}, "reference")])
    summary = summarize([Chunk({"x": values}, "a")], frame)
    field, known = frame.fields[0], values[100:]
    assert summary.counts[0][-1] == 100 and summary.counts[0].sum() == 5000
    assert summary.counts[0].max() < 3 * 5000 / 128
    mean, square = summary.sums[0] / len(known) / 256
    assert field.centre + mean * field.scale == pytest.approx(known.mean(), abs=0.01)
    assert np.sqrt(square * 256 / 256**2 - mean**2) * field.scale == pytest.approx(known.std(), rel=0.01)
    assert summary.extremes[0].tolist() == [known.min(), known.max()]


def test_few_values_have_bins_of_their_own_and_new_categories_are_named():
    frame = framed([chunk([0, 1, 2, 1], ["red", "green", None, "red"])])
    summary = summarize([chunk([1, 1.5, np.nan, 2], ["red", "puce", "puce", None])], frame)
    counts, field = summary.counts[0], frame.fields[0]
    assert [counts[np.searchsorted(field.boundaries, v, side="right") - 1] for v in (0, 1, 1.5, 2)] == [0, 1, 1, 1]
    assert frame.fields[1].categories == ("green", "red")
    assert summary.counts[1].tolist() == [0, 1, 2, 1] and summary.novel == ((), ("puce",))


def test_what_does_not_belong_together_is_not_merged():
    frame, other = (framed([chunk([0, 1, end], ["red"] * 3)]) for end in (2, 3))
    one = summarize([chunk([0, 1], ["red"] * 2)], frame)
    with pytest.raises(InputError, match="summarised twice"):
        merge(one, one)
    with pytest.raises(InputError, match="different references"):
        merge(one, summarize([chunk([0, 1], ["red"] * 2, source="b")], other))


def test_a_file_cut_short_is_no_summary(tmp_path):
    path = tmp_path / "summary.safetensors"
    frame = framed([chunk([0, 1, 2], ["red", "green", None])])
    whole = in_bytes(summarize([chunk([0, 5], ["red", "puce"])], frame), tmp_path)
    assert in_bytes(summary_file.load(path), tmp_path) == whole
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="no summary that can be read"):
        summary_file.load(path)
