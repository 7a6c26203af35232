"""The layout of prediction logs, and what is no window."""

from datetime import date, timedelta

import numpy as np
import pytest
import torch

from reprune.data import iter_batches
from reprune.errors import InputError
from reprune.store import open_store
from reprune.watch import logs

TODAY = date(2026, 11, 21)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def put(store, name, day=TODAY):
    return logs.write(store, "digits", name, {"inputs": np.zeros((2, 3), np.float32)}, day=day)


def listed(store, today=TODAY, known=()):
    return list(logs.keys(store, "digits", today=today, known=known))


def test_what_is_written_is_read_again(store, tmp_path):
    arrays = {"inputs": np.arange(6.0).reshape(2, 3), "labels": np.array([1, 0]), "scores": np.zeros((2, 5))}
    key = logs.write(store, "digits", "1430-a", arrays, day=TODAY)
    assert key == "logs/digits/2026-11-21/1430-a.npz"
    store.download(key, tmp_path / "a.npz")
    inputs, labels = next(iter_batches(logs.read(tmp_path / "a.npz")))
    assert inputs.dtype == torch.float32 and inputs.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert labels.tolist() == [1, 0]


def test_a_model_of_several_inputs_and_no_labels(tmp_path):
    named = {"inputs.tokens": np.zeros((3, 4), np.int64), "inputs.mask": np.ones((3, 4), np.int64)}
    np.savez(tmp_path / "a.npz", **named)
    inputs, labels = next(iter_batches(logs.read(tmp_path / "a.npz")))
    assert {name: list(value.shape) for name, value in inputs.items()} == {"tokens": [3, 4], "mask": [3, 4]}
    assert labels.shape == (3, 0)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"labels": np.zeros(3)},
        {"inputs": np.zeros(())},
        {"inputs": np.zeros((3, 2)), "labels": np.zeros(2)},
        {"inputs": np.zeros((3, 2)), "inputs.a": np.zeros((3, 2))},
        {"inputs": np.array([{"a": 1}], dtype=object)},
        {"inputs": np.array(["a", "b"])},
    ],
    ids=["nothing", "no inputs", "no rows", "fewer labels", "two ways", "objects", "text"],
)
def test_what_is_no_window_says_so(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=r"a\.npz"):
        logs.read(tmp_path / "a.npz")


def test_a_file_that_is_cut_anywhere_says_so(tmp_path):
    np.savez(tmp_path / "whole.npz", inputs=np.zeros((50, 3)))
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot be read as a window"):
            logs.read(tmp_path / "cut.npz")


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
    assert logs.recent([seen], today=far) == {seen}
    assert listed(store, known=[seen]) == [seen]


def test_a_folder_from_the_future_pushes_nothing_out_of_memory(store):
    seen = [put(store, "a", TODAY - timedelta(days=back)) for back in range(3)]
    future = [f"logs/digits/2099-01-0{n}/a.npz" for n in range(1, 6)]
    assert logs.recent([*seen, *future], today=TODAY) == {*seen, *future}
    assert listed(store, known=[*seen, *future]) == sorted(seen)
