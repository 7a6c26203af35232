"""Whether a re-prune may start now: never twice for one cause, never two at once, never more often than allowed."""

from dataclasses import dataclass
from typing import Literal, get_args

from reprune.config.monitor import Source, WatchPolicy
from reprune.drift.monitor.monitor_state import Launch, State

DAY_SECONDS = 24 * 3600.0
RETRY_SECONDS = 60.0
"""Least time after a launch that could not be made."""

Refusal = Literal["not-asked", "no-champion", "answered", "in-flight", "cooldown", "rate", "retry"]
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)


@dataclass(frozen=True)
class Request:
    """Somebody asks for a re-prune.

    Attributes:
        source: Who.
        fingerprint: Names the cause: the same cause asks with the same fingerprint, however often it asks.
        reason: In words.
    """

    source: Source
    fingerprint: str
    reason: str


def refusal(state: State, request: Request, policy: WatchPolicy, *, now: float, dry_run: bool) -> Refusal | None:
    """Return why a re-prune must not start, or None where it may.

    Args:
        state: What was started before; launches of a dry run stand in the way of a dry run alone. Without a champion
            nothing starts: the first one is made by a person.
        request: Who asks, and why.
        policy: How often it may.
        now: Seconds of watching (`reprune.drift.monitor.clock`).
        dry_run: Whether nothing is really started.
    """
    if request.source not in policy.act_on:
        return "not-asked"
    if state.champion is None:
        return "no-champion"
    launches = [launch for launch in state.launches if dry_run or launch.progress != "dry-run"]
    made = [launch for launch in launches if launch.progress != "not-started"]
    if any(launch.fingerprint == request.fingerprint for launch in made):
        return "answered"
    if any(launch.in_flight for launch in made):
        return "in-flight"
    if any(now - launch.steady < policy.cooldown_hours * 3600 for launch in made):
        return "cooldown"
    if sum(now - launch.steady < DAY_SECONDS for launch in made) >= policy.maximum_per_day:
        return "rate"
    if any(now - launch.steady < RETRY_SECONDS for launch in launches if launch.progress == "not-started"):
        return "retry"
    return None


def waiting_seconds(state: State, policy: WatchPolicy, *, now: float) -> float:
    """Return how long cooldown and rate keep the next re-prune waiting; 0 where it may start now."""
    made = [launch for launch in state.launches if launch.progress not in ("not-started", "dry-run")]
    ends = [launch.steady + policy.cooldown_hours * 3600 for launch in made[-1:]]
    if len(made) >= policy.maximum_per_day:
        ends.append(made[-policy.maximum_per_day].steady + DAY_SECONDS)
    return max([0.0, *(end - now for end in ends)])


def recorded(state: State, request: Request, launch_id: str, *, now: float, wall: float) -> Launch:
    """Write down that a re-prune is about to start, before it does."""
    launch = Launch(
        id=launch_id,
        source=request.source,
        fingerprint=request.fingerprint,
        reason=request.reason,
        at=wall,
        steady=now,
    )
    state.launches.append(launch)
    state.launch_counts[request.source] = state.launch_counts.get(request.source, 0) + 1
    return launch
