"""From a request to exactly one re-prune, whatever is killed in between."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from reprune.config.monitor import WatchPolicy
from reprune.drift.monitor.clock import SteadyClock
from reprune.drift.monitor.cooldown import Request
from reprune.drift.monitor.monitor_state import Keeper
from reprune.drift.monitor.retrain_trigger import STARTING_SECONDS, Trigger
from reprune.errors import StepError, StoreError
from reprune.storage.uri import open_store

REQUEST = Request(source="alert", fingerprint="abc 2026", reason="a test")


class Recorder:
    """A launcher that writes down what it was asked for."""

    dry_run = False

    def __init__(self):
        self.started, self.found, self.ended, self.breaks = [], None, None, None

    def start(self, launch):
        if self.breaks:
            raise self.breaks
        self.started.append(launch.id)
        return f"run {launch.id}"

    def find(self, launch):
        return self.found

    def outcome(self, launch):
        return self.ended


@pytest.fixture
def keeper(tmp_path):
    keeper = Keeper(open_store(tmp_path / "store"), "digits")
    keeper.change(lambda state: setattr(state, "champion", "v"))
    return keeper


@pytest.fixture
def launcher():
    return Recorder()


@pytest.fixture
def monotonic():
    return [0.0]


@pytest.fixture
def trigger(keeper, launcher, monotonic):
    clock = SteadyClock(walls=lambda: 1e9 + monotonic[0], monotonics=lambda: monotonic[0])
    return Trigger(keeper, WatchPolicy(), launcher, clock)


def only(keeper):
    (launch,) = keeper.read().launches
    return launch


def test_it_is_started_once_and_followed_to_its_end(trigger, keeper, launcher):
    started = trigger.ask(REQUEST).launch
    assert only(keeper).progress == "running" and only(keeper).handle == f"run {started.id}"
    assert trigger.ask(REQUEST).refusal == "answered"
    trigger.follow()
    assert only(keeper).in_flight
    launcher.ended = "promoted"
    trigger.follow()
    assert only(keeper).progress == "promoted"
    assert launcher.started == [started.id]
    assert keeper.read().launch_counts == {"alert": 1} and keeper.read().refusal_counts == {"answered": 1}


def test_of_many_that_ask_at_once_one_is_heard(trigger, keeper, launcher):
    requests = [Request(source="alert", fingerprint=f"{n}", reason="") for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(trigger.ask, requests))
    assert sum(answer.launch is not None for answer in answers) == 1
    assert len(launcher.started) == 1


def test_what_could_not_be_started_does_not_count(trigger, keeper, launcher, monotonic):
    launcher.breaks = StepError("the server is away")
    assert trigger.ask(REQUEST).failure is launcher.breaks
    assert only(keeper).progress == "not-started"
    launcher.breaks, monotonic[0] = None, 120.0
    assert trigger.ask(REQUEST).launch is not None


class Killed(BaseException):
    """Stands for kill -9: nothing of ours runs after it."""


@pytest.mark.parametrize(("found", "progress"), [("run 1", "running"), (None, "lost")])
def test_killed_while_it_was_starting_it_is_looked_for_and_never_started_again(
    trigger, keeper, launcher, monotonic, found, progress
):
    launcher.breaks = Killed()
    with pytest.raises(Killed):
        trigger.ask(REQUEST)
    launcher.breaks, launcher.found = None, found
    trigger.follow()
    assert only(keeper).progress == "starting", "another monitor may be about to start it"
    monotonic[0] = STARTING_SECONDS + 1
    trigger.follow()
    assert only(keeper).progress == progress
    assert trigger.ask(REQUEST).refusal == "answered"
    assert launcher.started == []


def test_a_dry_run_records_what_it_would_have_started(keeper, launcher):
    launcher.dry_run = True
    assert Trigger(keeper, WatchPolicy(), launcher, SteadyClock()).ask(REQUEST).launch.progress == "dry-run"


def test_a_state_that_is_gone_starts_nothing(trigger, keeper, launcher, tmp_path):
    trigger.ask(REQUEST)
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreError, match="is gone"):
        trigger.ask(Request(source="alert", fingerprint="another", reason=""))
    assert len(launcher.started) == 1
