"""The layout of prediction logs, and what is no window."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reprune.drift.monitor import prediction_log
from reprune.errors import InputError
from reprune.storage.uri import open_store
from tests.monitoring import production

TODAY = date(2026, 11, 21)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


SHAPES = {"input": [3]}


def only_batch(window):
    (batch,) = window.batches(np.arange(len(window)), 100)
    return batch


def put(store, name, day=TODAY):
    return prediction_log.write(store, "digits", name, {"input": np.zeros((2, 3), np.float32)}, day=day)


def listed(store, today=TODAY, known=()):
    return list(prediction_log.keys(store, "digits", today=today, known=known))


def test_what_is_written_is_read_again(store, tmp_path):
    arrays = {"input": np.arange(6.0).reshape(2, 3), "label": np.array([1, 0]), "score": np.zeros((2, 5))}
    key = prediction_log.write(store, "digits", "1430-a", arrays, day=TODAY)
    assert key == "logs/digits/2026-11-21/1430-a.npz"
    store.download(key, tmp_path / "a.npz")
    inputs, labels = only_batch(prediction_log.read(tmp_path / "a.npz", SHAPES))
    assert inputs["input"].dtype == np.float32 and inputs["input"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert labels.tolist() == [1, 0]


def test_a_model_of_several_inputs_and_no_labels(tmp_path):
    np.savez(tmp_path / "a.npz", tokens=np.zeros((3, 4), np.int64), mask=np.ones((3, 4), np.int64))
    inputs, labels = only_batch(prediction_log.read(tmp_path / "a.npz", {"tokens": [None], "mask": [None]}))
    assert {name: list(value.shape) for name, value in inputs.items()} == {"tokens": [3, 4], "mask": [3, 4]}
    assert labels is None


def test_a_list_in_a_parquet_file_takes_the_shape_of_the_input(tmp_path):
    rows = {"input": [[float(i)] * 64 for i in range(5)], "host": ["a"] * 5, "label": [1, None, 2, 3, 4]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    inputs, labels = only_batch(prediction_log.read(tmp_path / "a.parquet", {"input": [1, 8, 8]}))
    assert inputs["input"].shape == (5, 1, 8, 8) and inputs["input"][4].mean() == 4
    assert labels is None, "not every label is known"


def test_of_a_large_window_a_random_sample_is_kept(tmp_path):
    rows = 150_000
    np.savez(tmp_path / "a.npz", input=np.arange(rows, dtype=np.float64)[:, None], label=np.arange(rows))
    window = prediction_log.read(tmp_path / "a.npz", {"input": [1]})
    inputs, labels = window.inputs["input"], window.labels
    assert (window.rows, len(window)) == (rows, prediction_log.MOST_ROWS)
    assert (inputs[:, 0] == labels).all() and (np.diff(labels) > 0).all()
    assert abs(labels.mean() / rows - 0.5) < 0.01 and 0.28 < labels.std() / rows < 0.30


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"label": np.zeros(3)},
        {"input": np.zeros(())},
        {"input": np.zeros((3, 2)), "label": np.zeros(2)},
        {"input": np.array([{"a": 1}], dtype=object)},
        {"input": np.array(["a", "b"])},
        {"input": np.zeros((0, 3))},
    ],
    ids=["nothing", "no inputs", "no rows", "fewer labels", "objects", "text", "empty"],
)
def test_what_is_no_window_says_so(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=r"a\.npz"):
        prediction_log.read(tmp_path / "a.npz", SHAPES)


def test_a_file_that_is_cut_anywhere_says_so(tmp_path):
    np.savez(tmp_path / "whole.npz", input=np.zeros((50, 3)))
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot be read"):
            prediction_log.read(tmp_path / "cut.npz", SHAPES)


def test_late_labels_and_other_files_are_no_windows(store):
    key = put(store, "a")
    put(store, "labels-a")
    store.put(key.replace("a.npz", "readme.txt"), b"")
    assert listed(store) == [key]


def test_windows_of_the_latest_days_come_in_order(store):
    for back in (0, 1, 2, 5):
        put(store, "b", TODAY - timedelta(days=back))
        put(store, "a", TODAY - timedelta(days=back))
    assert listed(store) == [f"logs/digits/2026-11-{day}/{name}.npz" for day in (19, 20, 21) for name in "ab"]


def test_after_a_stop_nothing_in_between_is_lost(store):
    seen = put(store, "a", TODAY - timedelta(days=10))
    later = put(store, "a", TODAY - timedelta(days=6))
    assert listed(store, known=[seen]) == [seen, later]


def test_a_clock_that_is_set_back_brings_no_old_window_up_again(store):
    old = put(store, "a", TODAY - timedelta(days=30))
    new = put(store, "a", TODAY)
    with pytest.raises(InputError, match="clock"):
        listed(store, today=TODAY - timedelta(days=30), known=[new])
    assert old not in listed(store, known=[new])


def test_a_clock_that_is_set_forward_forgets_nothing(store):
    seen = put(store, "a", TODAY)
    far = TODAY + timedelta(days=20_000)
    assert listed(store, today=far, known=[seen]) == []
    assert prediction_log.recent([seen], today=far) == {seen}
    assert listed(store, known=[seen]) == [seen]


def test_a_folder_from_the_future_pushes_nothing_out_of_memory(store):
    seen = [put(store, "a", TODAY - timedelta(days=back)) for back in range(3)]
    future = [f"logs/digits/2099-01-0{n}/a.npz" for n in range(1, 6)]
    assert prediction_log.recent([*seen, *future], today=TODAY) == {*seen, *future}
    assert listed(store, known=[*seen, *future]) == sorted(seen)


def test_the_latest_window_of_the_log_is_what_a_run_looks_at(store, tmp_path):
    production.write_model(tmp_path / "model.onnx")
    assert prediction_log.latest(store, production.NAME, tmp_path / "model.onnx") is None
    production.log_window(store, "a", count=5)
    production.log_window(store, "b", count=7)
    assert len(prediction_log.latest(store, production.NAME, tmp_path / "model.onnx")) == 7
