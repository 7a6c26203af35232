"""Windows are judged once each, drift is confirmed over several, and nothing else asks for a re-prune."""

import json
from datetime import UTC, datetime

import numpy as np
import onnxruntime
import pytest

from reprune.drift.monitor.clock import SteadyClock
from reprune.drift.monitor.monitor_state import Keeper
from reprune.drift.monitor.watcher import TRIES, Watcher
from reprune.errors import IntegrityError
from reprune.storage.uri import open_store
from tests.monitoring import production


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def keeper(store):
    return Keeper(store, production.NAME)


@pytest.fixture
def watch(store, keeper, tmp_path):
    production.promote(store, tmp_path / "champion")
    watcher = Watcher(production.workload(), store, keeper, SteadyClock())
    return lambda: [request for request in watcher.look() if request is not None]


def test_drift_asks_once_it_is_confirmed_and_always_for_the_same_cause(store, keeper, watch):
    production.log_window(store, "a", seed=10)
    production.log_window(store, "b", seed=11, shift=1.0)
    assert watch() == []
    production.log_window(store, "c", seed=12, shift=1.0)
    (first,) = watch()
    production.log_window(store, "d", seed=13, shift=1.0)
    (second,) = watch()
    assert first.fingerprint == second.fingerprint
    assert first.source == "drift" and "2 windows in a row" in first.reason
    state = keeper.read()
    assert state.window_counts == {"no drift": 1, "drift": 3} and state.confirmed
    assert len(state.tests) == 9


def test_one_alarm_among_quiet_windows_asks_for_nothing(store, watch):
    for name, shift in (("a", 1.0), ("b", 0.0), ("c", 1.0), ("d", 0.0)):
        production.log_window(store, name, seed=10, shift=shift)
    assert watch() == []


def test_confirmed_drift_is_over_after_as_many_quiet_windows(store, keeper, watch):
    for name, shift in (("a", 1.0), ("b", 1.0), ("c", 0.0)):
        production.log_window(store, name, seed=10, shift=shift)
    watch()
    assert keeper.read().confirmed
    production.log_window(store, "d", seed=10)
    watch()
    assert not keeper.read().confirmed


def test_a_window_is_judged_once(store, keeper, watch):
    production.log_window(store, "a", seed=10, shift=1.0)
    for _ in range(3):
        assert watch() == []
    assert keeper.read().window_counts == {"drift": 1}


def test_a_window_that_says_nothing_neither_confirms_nor_ends(store, keeper, watch):
    production.log_window(store, "a", seed=10, shift=1.0)
    production.log_window(store, "b", seed=10, count=1, shift=1.0)
    broken = f"logs/{production.NAME}/{datetime.now(UTC):%Y-%m-%d}/c.npz"
    store.put(broken, b"PK\x03\x04 half of a window")
    assert watch() == []
    state = keeper.read()
    assert state.window_counts == {"drift": 1, "inconclusive": 1, "broken": 1} and state.drifted == 1
    assert state.windows[broken].summary.startswith("c.npz cannot be read"), (
        "where it was copied to is nobody's business"
    )


def test_a_broken_window_is_looked_at_again_once_it_was_written_anew(store, keeper, watch):
    key = f"logs/{production.NAME}/{datetime.now(UTC):%Y-%m-%d}/a.npz"
    store.put(key, b"half")
    watch()
    watch()
    assert keeper.read().window_counts == {"broken": 1}
    production.log_window(store, "a", seed=10)
    watch()
    assert keeper.read().window_counts == {"broken": 1, "no drift": 1}


def test_inputs_of_another_model_are_broken(store, keeper, watch):
    production.log_window(store, "a", seed=10, columns=3)
    assert watch() == []
    (window,) = keeper.read().windows.values()
    assert window.verdict == "broken" and "inputs" in window.summary


def test_a_window_that_ends_the_monitor_again_and_again_is_passed_over(store, keeper, watch, monkeypatch):
    production.log_window(store, "a", seed=10)
    production.log_window(store, "b", seed=10)

    def killed(self, order):
        raise SystemExit(137)

    with monkeypatch.context() as patched:
        patched.setattr("reprune.drift.monitor.confined_process.Confined.judge", killed)
        for _ in range(TRIES):
            with pytest.raises(SystemExit):
                list(Watcher(production.workload(), store, keeper, SteadyClock()).look())
    assert list(Watcher(production.workload(), store, keeper, SteadyClock()).look()) == [None, None]
    assert keeper.read().window_counts == {"set aside": 1, "no drift": 1} and keeper.read().begun == {}


def test_without_a_champion_nothing_is_judged_and_nothing_asked_for(store, keeper):
    production.log_window(store, "a", seed=10, shift=1.0)
    assert list(Watcher(production.workload(), store, keeper, SteadyClock()).look()) == []
    assert keeper.read().windows == {}


def test_another_champion_starts_anew(store, keeper, watch, tmp_path):
    for name in "ab":
        production.log_window(store, name, seed=10, shift=1.0)
    assert watch()
    production.promote(store, tmp_path / "next", shift=1.0, scale=2.0)
    assert watch() == []
    state = keeper.read()
    assert not state.confirmed and state.drifted == 0 and state.tests == ()
    production.log_window(store, "c", seed=11, shift=1.0)
    assert watch() == []
    assert keeper.read().window_counts == {"drift": 2, "no drift": 1}


def test_a_damaged_state_is_refused_and_left_as_it_is(store, keeper, watch):
    watch()
    damaged = json.dumps({"format": 1, "launches": "many"}).encode()
    store.put(keeper.key, damaged)
    with pytest.raises(IntegrityError, match="launches"):
        watch()
    assert store.get(keeper.key) == damaged


def test_two_watchers_of_one_store_count_each_window_once(store, keeper, watch):
    other = Watcher(production.workload(), store, keeper, SteadyClock())
    for name in "abcd":
        production.log_window(store, name, seed=10)
    looks = [iter(other.look()), iter(other.look())]
    for _ in range(5):
        for look in looks:
            next(look, None)
    watch()
    assert keeper.read().window_counts == {"no drift": 4}


def test_accuracy_in_production_is_estimated_and_counted_where_labels_are_known(store, keeper, watch):
    production.log_window(store, "a", seed=10)
    watch()
    assert keeper.read().quality.actual is None and 0 < keeper.read().quality.estimated < 1
    production.log_window(store, "b", seed=11, label=np.arange(100) % 3)
    policy = {"watch": ["inputs", "predictions", "quality"]}
    list(Watcher(production.workload(drift=policy), store, keeper, SteadyClock()).look())
    assert keeper.read().quality.labelled == 100 and 0 < keeper.read().quality.actual < 1


LATE = {"watch": ["inputs", "predictions", "quality"]}


@pytest.fixture
def late(store, keeper, tmp_path):
    """A watcher that believes labels, and what the champion answers to a window's inputs."""
    production.promote(store, tmp_path / "champion")
    watcher = Watcher(production.workload(drift=LATE), store, keeper, SteadyClock())
    return lambda: [request for request in watcher.look() if request is not None]


def answers(tmp_path, count, seed):
    session = onnxruntime.InferenceSession(tmp_path / "champion" / "model.onnx")
    return session.run(None, {"input": production.inputs(count, seed)})[0].argmax(axis=1)


def test_labels_that_come_later_are_paired_by_id_and_judged_once(store, keeper, late, tmp_path):
    for name, seed in (("a", 10), ("b", 11)):
        production.log_window(store, name, seed=seed, id=[f"{name}{i}" for i in range(100)])
    assert late() == [] and keeper.read().counted is None
    right = np.concatenate([answers(tmp_path, 100, seed) for seed in (10, 11)])
    ids = [f"{name}{i}" for name in "ab" for i in range(100)]
    production.log_labels(store, "labels-1", ids[60:160], right[60:160])
    for _ in range(2):
        late()
    state = keeper.read()
    assert (state.counted.actual, state.counted.labelled) == (1.0, 100)
    judged = state.windows[production.key_of("labels-1.parquet")]
    assert judged.examples == 100 and judged.delay >= 0
    assert sum(state.window_counts.values()) == 3 and {test.name for test in state.late.tests} == {"correct"}


def test_accuracy_that_falls_asks_once_late_labels_confirm_it(store, keeper, late, tmp_path):
    production.log_window(store, "a", seed=10, count=300, id=np.arange(300))
    assert late() == []
    wrong = (answers(tmp_path, 300, 10) + 1) % 3
    production.log_labels(store, "labels-1", np.arange(150), wrong[:150])
    assert late() == []
    production.log_labels(store, "labels-2", np.arange(150, 300), wrong[150:])
    (request,) = late()
    assert "labels-1" in request.fingerprint and "2 windows in a row" in request.reason
    state = keeper.read()
    assert state.late.confirmed and not state.confirmed and state.asking is state.late


def test_labels_of_nothing_are_broken_and_too_few_say_nothing(store, keeper, late):
    production.log_window(store, "a", seed=10, id=np.arange(100))
    production.log_window(store, "b", seed=10)
    production.log_labels(store, "labels-1", [1000, 1001], [0, 1])
    production.log_labels(store, "labels-2", [0, 1], [0, 1])
    production.log_labels(store, "labels-3", [0, 1], ["cat", "dog"])
    assert late() == []
    found = {key.rpartition("/")[2]: window for key, window in keeper.read().windows.items()}
    assert "has any of its 2 ids" in found["labels-1.parquet"].summary
    assert found["labels-2.parquet"].verdict == "inconclusive"
    assert "hold no numbers" in found["labels-3.parquet"].summary


def test_labels_are_left_alone_where_nobody_asked_for_them(store, keeper, watch):
    production.log_window(store, "a", seed=10, id=np.arange(100))
    production.log_labels(store, "labels-1", np.arange(100), np.zeros(100, int))
    watch()
    assert keeper.read().window_counts == {"no drift": 1}


def slowly(store, keeper, count, looks=1, **monitor):
    """Look now and then, as a new process each time, while inputs have moved a little."""
    asked = []
    for i in range(count):
        production.log_window(store, f"{i:02}", seed=20 + i, shift=0.13)
        if (i + 1) % (count // looks) == 0:
            watcher = Watcher(production.workload(monitor=monitor), store, keeper, SteadyClock())
            asked += [request for request in watcher.look() if request is not None]
    return asked


def test_slow_drift_is_confirmed_by_windows_together(store, keeper, tmp_path):
    production.promote(store, tmp_path / "champion")
    (request,) = slowly(store, keeper, 8, looks=2, online=True)
    state = keeper.read()
    together = state.windows[production.key_of("07.npz")].together
    assert state.confirmed and together > 1
    assert f"of {together} windows together" in request.reason
    assert list(store.list(f"monitor/{production.NAME}/recent/")) == []


def test_windows_alone_do_not_show_it(store, keeper, tmp_path):
    production.promote(store, tmp_path / "champion")
    assert slowly(store, keeper, 8) == []


def test_what_waits_for_more_windows_is_kept_and_may_be_lost(store, keeper, tmp_path):
    production.promote(store, tmp_path / "champion")
    slowly(store, keeper, 3, online=True)
    waiting = list(store.list(f"monitor/{production.NAME}/recent/"))
    assert sorted(waiting) == sorted(filter(None, keeper.read().together)) and len(waiting) == 2
    for key in waiting:
        store.delete(key)
    production.log_window(store, "99", seed=99)
    list(Watcher(production.workload(monitor={"online": True}), store, keeper, SteadyClock()).look())
    assert keeper.read().windows[production.key_of("99.npz")].verdict == "no drift"
    production.promote(store, tmp_path / "next", scale=2.0)
    list(Watcher(production.workload(monitor={"online": True}), store, keeper, SteadyClock()).look())
    assert keeper.read().together == ()
