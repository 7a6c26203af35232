"""No window stops the monitor: those that break a limit are set aside with the reason, and the others are judged."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from reprune.config import loading
from reprune.config.workload import Workload
from reprune.drift.monitor import delayed_labels
from reprune.drift.monitor.clock import SteadyClock
from reprune.drift.monitor.confined_process import ClosedError, Confined
from reprune.drift.monitor.monitor_state import Keeper
from reprune.drift.monitor.watcher import TRIES, Watcher
from reprune.drift.monitor.worker_messages import Setup
from reprune.errors import InputError, StepError, StoreError
from reprune.storage.uri import open_store
from tests.monitoring import production
from tests.reprune.drift import bombs

MISBEHAVING = str(Path(__file__).with_name("misbehaving.py"))
ABSURD = 1 << 60


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    production.promote(store, tmp_path / "champion")
    return store


@pytest.fixture
def keeper(store):
    return Keeper(store, production.NAME)


def watcher_of(store, keeper, *program, **monitor):
    watched = production.workload(monitor=monitor)
    judges = Confined(watched, store, program or (MISBEHAVING,))
    return Watcher(watched, store, keeper, SteadyClock(), judges)


def path_of(store, name):
    path = Path(store.uri) / production.key_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def found(keeper):
    return {key.rpartition("/")[2]: (it.verdict, it.summary) for key, it in keeper.read().windows.items()}


BOMBS = {
    "rows of no values": lambda path: bombs.npz(path, (ABSURD, 0)),
    "rows of empty text": lambda path: bombs.npz(path, (ABSURD,), "<U0"),
    "rows without end": lambda path: bombs.npz(path, (ABSURD, 4), data=bytes(80)),
    "a zip bomb": lambda path: np.savez_compressed(path, input=np.zeros((20_000_000, 4))),
    "entries that overlap": lambda path: bombs.overlapping(path, 5000),
    "Parquet rows without end": lambda path: bombs.parquet(path.with_suffix(".parquet"), ABSURD),
    "a CSV line without end": lambda path: bombs.endless_line(path.with_suffix(".csv")),
    "a large file": lambda path: path.with_suffix(".csv").write_text("input\n" + "1\n" * 60_000_000),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_after_a_window_that_declares_too_much_the_next_one_is_judged(make, store, keeper):
    make(path_of(store, "a.npz"))
    production.log_window(store, "b", seed=10)
    assert list(watcher_of(store, keeper, window_file_megabytes=100).look()) == [None, None]
    (first, (verdict, reason)), (second, judged) = found(keeper).items()
    assert first.startswith("a.") and verdict == "broken" and reason
    assert (second, judged[0]) == ("b.npz", "no drift")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a-sleeps", "takes longer than 5 s (monitor.window_seconds)"),
        ("a-killed", "killed by signal 9 (SIGKILL); was there memory enough?"),
        ("a-crashes", "killed by signal 11 (SIGSEGV)"),
        ("a-exits", "ended with code 3"),
        ("a-babbles", "answered nothing that makes sense"),
    ],
)
def test_a_window_that_ends_its_process_is_set_aside_with_the_reason_and_not_tried_again(name, reason, store, keeper):
    production.log_window(store, name, seed=10)
    production.log_window(store, "b", seed=10)
    watcher = watcher_of(store, keeper, window_seconds=5)
    assert list(watcher.look()) == [None, None] and list(watcher.look()) == []
    verdict, summary = found(keeper)[f"{name}.npz"]
    assert verdict == "set aside" and reason in summary
    assert found(keeper)["b.npz"][0] == "no drift"
    assert keeper.read().window_counts == {"set aside": 1, "no drift": 1} and keeper.read().begun == {}


def test_one_that_is_written_anew_is_judged_again(store, keeper):
    production.log_window(store, "a-killed", seed=10)
    list(watcher_of(store, keeper).look())
    os.utime(path_of(store, "a-killed.npz"), (1, 1))
    assert list(watcher_of(store, keeper, "-m", "reprune.drift.monitor.window_worker").look()) == [None]
    assert found(keeper)["a-killed.npz"][0] == "no drift"


def test_one_that_needs_more_memory_than_it_may_have_is_set_aside(store, keeper):
    production.log_window(store, "a", count=20_000, columns=1500, seed=10)
    production.log_window(store, "b", seed=10)
    limits = {"window_memory_megabytes": 128}
    assert list(watcher_of(store, keeper, "-m", "reprune.drift.monitor.window_worker", **limits).look()) == [None, None]
    verdict, summary = found(keeper)["a.npz"]
    assert verdict == "set aside" and "more than 128 MB of memory (monitor.window_memory_megabytes)" in summary
    assert found(keeper)["b.npz"][0] == "no drift"


def test_a_window_is_not_blamed_for_memory_that_another_one_left(store, keeper):
    for name in ("a-leaves", "b-leaves", "c-leaves"):
        production.log_window(store, name, seed=10)
    list(watcher_of(store, keeper, window_memory_megabytes=256).look())
    assert {verdict for verdict, _ in found(keeper).values()} == {"no drift"}


def test_what_a_library_prints_is_no_answer_and_what_a_task_raises_breaks_the_window(store, keeper, capfd):
    production.log_window(store, "a-prints", seed=10)
    production.log_window(store, "b-raises", seed=10)
    list(watcher_of(store, keeper).look())
    assert found(keeper)["a-prints.npz"][0] == "no drift" and "a library's own words" in capfd.readouterr().err
    verdict, summary = found(keeper)["b-raises.npz"]
    assert verdict == "broken" and "judging it failed: AttributeError" in summary


def test_a_process_that_does_not_start_is_not_the_window_s_fault(store, keeper):
    production.log_window(store, "a", seed=10)
    for _ in range(TRIES + 1):  # more often than a window may end the monitor
        with pytest.raises(StepError, match="does not start"):
            list(watcher_of(store, keeper, MISBEHAVING, "does-not-start").look())
    assert found(keeper) == {} and keeper.read().begun == {}
    assert list(watcher_of(store, keeper).look()) == [None]


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path.name)],
    ids=["pipe", "device", "loop"],
)
def test_what_cannot_be_fetched_lets_the_others_be_judged_is_said_and_is_set_aside_in_the_end(make, store, keeper):
    make(path_of(store, "a.npz"))
    production.log_window(store, "b", seed=10)
    watcher = watcher_of(store, keeper)
    for _ in range(TRIES - 1):
        with pytest.raises(StoreError, match=r"a\.npz"):
            list(watcher.look())
        assert found(keeper)["b.npz"][0] == "no drift"
    assert list(watcher.look()) == [None] and list(watcher.look()) == []
    verdict, summary = found(keeper)["a.npz"]
    assert verdict == "set aside" and f"could not be fetched {TRIES} times" in summary
    assert keeper.read().window_counts == {"set aside": 1, "no drift": 1}


def test_a_store_that_is_away_sets_nothing_aside(store, keeper, tmp_path):
    production.log_window(store, "a-away", seed=10)
    watcher = watcher_of(store, keeper)
    for _ in range(TRIES + 1):
        look = watcher.look()
        store_folder = Path(store.uri)
        store_folder.rename(tmp_path / "away")
        store_folder.write_text("a file")
        with pytest.raises(StoreError):
            list(look)
        store_folder.unlink()
        (tmp_path / "away").rename(store_folder)
    assert found(keeper) == {}


def test_labels_are_paired_without_the_windows_that_were_set_aside(store, keeper, tmp_path):
    bombs.npz(path_of(store, "a.npz"), (ABSURD, 0))
    production.log_window(store, "b", seed=10, id=np.arange(100))
    production.log_labels(store, "labels-1", np.arange(100), np.arange(100) % 3)
    key, path = production.key_of("labels-1.parquet"), tmp_path / "labels-1.parquet"
    store.download(key, path)
    written = store.modified(production.key_of("b.npz")).isoformat()
    window, _ = delayed_labels.read(store, key, path, {"input": [4]})
    assert window.rows == 100
    with pytest.raises(InputError, match="no window of its day"):
        delayed_labels.read(store, key, path, {"input": [4]}, unread={production.key_of("b.npz"): written})
    rewritten = {production.key_of("b.npz"): "earlier"}
    assert delayed_labels.read(store, key, path, {"input": [4]}, unread=rewritten)[0].rows == 100


def test_the_process_gets_no_token_and_leaves_nothing_behind(store, keeper, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("REPRUNE_MONITOR_TOKEN", "a-token-of-enough-letters")
    program = tmp_path / "program.py"
    program.write_text(
        "import os, json, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'environment')!r}).write_text(json.dumps(dict(os.environ)))\n"
        f"exec(open({MISBEHAVING!r}).read())\n"
    )
    production.log_window(store, "a-killed", seed=10)
    watcher = watcher_of(store, keeper, str(program))
    list(watcher.look())
    assert "REPRUNE_MONITOR_TOKEN" not in json.loads((tmp_path / "environment").read_text())
    assert [it.name for it in (tmp_path / "scratch").iterdir() if not it.name.startswith("reprune-champion-")] == []


@pytest.mark.parametrize("name", loading.shipped())
def test_a_workload_reaches_the_process_as_it_is(name, store):
    loaded = loading.load(name)
    sent = Setup(workload=loaded.model_dump(mode="json"), store=store.uri).model_dump_json()
    assert Workload.model_validate(Setup.model_validate_json(sent).workload) == loaded


def test_closed_while_it_judges_it_ends_the_process_and_leaves_the_window_to_the_next_monitor(store, keeper):
    production.log_window(store, "a-sleeps", seed=10)
    watcher, raised = watcher_of(store, keeper), []

    def look():
        try:
            list(watcher.look())
        except ClosedError as error:
            raised.append(error)

    looking = threading.Thread(target=look)
    looking.start()
    while not keeper.read().begun:
        time.sleep(0.05)
    watcher.close()
    looking.join()
    assert len(raised) == 1 and found(keeper) == {} and keeper.read().begun == {}
    with pytest.raises(ClosedError):
        list(watcher.look())


def test_should_the_monitor_die_the_process_ends_with_its_input(store):
    setup = Setup(workload=production.workload().model_dump(mode="json"), store=store.uri)
    process = subprocess.Popen(
        [sys.executable, "-m", "reprune.drift.monitor.window_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(setup.model_dump_json() + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["ready"]
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()
