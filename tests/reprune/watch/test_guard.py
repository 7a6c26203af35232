"""No re-prune by accident: what the guard lets through, and what it does not."""

import pytest

from reprune.config.monitor import WatchPolicy
from reprune.drift.monitor.cooldown import DAY_SECONDS, Request, recorded, refusal, waiting_seconds
from reprune.drift.monitor.monitor_state import State

HOUR = 3600.0
POLICY = WatchPolicy(cooldown_hours=2, maximum_per_day=3)


def asked(fingerprint="a", source="alert"):
    return Request(source=source, fingerprint=fingerprint, reason="a test")


def launched(*times, progress="promoted"):
    state = State(champion="v")
    for n, now in enumerate(times):
        recorded(state, asked(f"launch {n}"), f"{n}", now=now, wall=0).progress = progress
    return state


def reason(state, request, now, policy=POLICY, dry_run=False):
    return refusal(state, request, policy, now=now, dry_run=dry_run)


def test_the_first_request_may_start():
    assert reason(State(champion="v"), asked(), now=0.0) is None


def test_the_first_champion_is_made_by_a_person():
    assert reason(State(), asked(), now=0.0) == "no-champion"


def test_one_cause_starts_one_however_often_it_asks():
    state = launched(0.0)
    for now in (1.0, 3 * HOUR, 100 * DAY_SECONDS):
        assert reason(state, asked("launch 0"), now) == "answered"


def test_two_are_never_in_flight_together():
    for progress in ("starting", "running"):
        assert reason(launched(0.0, progress=progress), asked(), now=10 * HOUR) == "in-flight"


def test_the_cooldown_counts_from_the_start_of_the_latest():
    state = launched(0.0)
    assert reason(state, asked(), now=2 * HOUR - 1) == "cooldown"
    assert waiting_seconds(state, POLICY, now=HOUR) == HOUR
    assert reason(state, asked(), now=2 * HOUR) is None
    assert waiting_seconds(state, POLICY, now=2 * HOUR) == 0


def test_no_more_than_so_many_in_any_day():
    state = launched(0.0, 3 * HOUR, 6 * HOUR)
    assert reason(state, asked(), now=23 * HOUR) == "rate"
    assert waiting_seconds(state, POLICY, now=23 * HOUR) == HOUR
    assert reason(state, asked(), now=24 * HOUR) is None


def test_a_launch_that_could_not_be_made_may_be_asked_for_again_but_not_at_once():
    state = launched(0.0, progress="not-started")
    assert reason(state, asked("launch 0"), now=1.0) == "retry"
    assert reason(state, asked("launch 0"), now=61.0) is None


def test_a_launch_that_may_have_run_counts_as_one_that_did():
    state = launched(0.0, progress="lost")
    assert reason(state, asked("launch 0"), now=3 * HOUR) == "answered"
    assert reason(state, asked(), now=HOUR) == "cooldown"


def test_a_dry_run_stands_in_the_way_of_a_dry_run_alone():
    state = launched(0.0, progress="dry-run")
    assert reason(state, asked("launch 0"), now=1.0) is None
    assert reason(state, asked("launch 0"), now=1.0, dry_run=True) == "answered"


@pytest.mark.parametrize("source", ["drift", "alert"])
def test_only_those_who_may_ask_are_heard(source):
    other = "alert" if source == "drift" else "drift"
    policy = WatchPolicy(act_on=(other,))
    assert reason(State(champion="v"), asked(source=source), now=0.0, policy=policy) == "not-asked"
    assert reason(State(champion="v"), asked(source=other), now=0.0, policy=policy) is None
