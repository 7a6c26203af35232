"""What the monitor knows, as Prometheus metrics: made anew for each scrape, from the state and the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import CollectorRegistry

from reprune.config.monitor import Source, windows_between_false_confirmations
from reprune.config.serving import estimate
from reprune.config.workload import Workload
from reprune.drift.monitor.cooldown import REFUSALS, waiting_seconds
from reprune.drift.monitor.monitor_state import Progress, State, Verdict
from reprune.metrics import ChampionMetrics, Writer
from reprune.registry.history import History
from reprune.registry.manifest import Version


@dataclass(frozen=True)
class Snapshot:
    """What is known at one moment.

    Attributes:
        state: The monitor's state.
        history: Moves of the champion.
        champion: The champion's version, where it can be read.
        now: Seconds of watching.
        ready: Whether the last look at the store went well, and the monitor gets on.
        last_look: When that was, seconds since 1970; 0 for never.
        progress_age: Seconds since the monitor last got on with its work.
        progress_limit: Seconds after which it counts as stalled.
        errors: Looks that failed since the process started.
        clock_jumps: Jumps of the wall clock since then.
        refusals: Requests that the webhook refused since then, by reason.
    """

    state: State
    history: History
    champion: Version | None
    now: float
    ready: bool
    last_look: float
    progress_age: float = 0.0
    progress_limit: float = 0.0
    errors: int = 0
    clock_jumps: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)


def registry_of(workload: Workload, seen: Snapshot) -> CollectorRegistry:
    """Return a registry of its own with all metrics of a monitor."""
    registry = CollectorRegistry()
    writer = Writer(registry, workload.name)
    _write_watching(writer, workload, seen)
    _write_launches(writer, workload, seen)
    _write_champion(writer, workload, seen)
    return registry


def _write_watching(writer: Writer, workload: Workload, seen: Snapshot) -> None:
    state, policy = seen.state, workload.monitor
    ready = "1 if the last look at the store went well and the monitor gets on."
    writer.write("monitor_ready", ready, {(): float(seen.ready)})
    writer.write("monitor_last_look_timestamp_seconds", "When the store was last looked at.", {(): seen.last_look})
    writer.write("monitor_progress_age_seconds", "Time since the monitor last got on.", {(): seen.progress_age})
    limit = "Time without progress after which the monitor counts as stalled."
    writer.write("monitor_progress_limit_seconds", limit, {(): seen.progress_limit})
    writer.count("monitor_errors", "Looks at the store that failed.", {(): seen.errors})
    writer.count("monitor_clock_jumps", "Jumps of the wall clock.", {(): seen.clock_jumps})
    windows = {(verdict,): state.window_counts.get(verdict, 0) for verdict in get_args(Verdict)}
    writer.count("monitor_windows", "Windows that were looked at.", windows, ("verdict",))
    latest = max((window.at for window in state.windows.values()), default=None)
    if latest is not None:
        writer.write("monitor_last_window_timestamp_seconds", "When a window was last judged.", {(): latest})
    writer.write("monitor_drift_windows", "Windows in a row with drift.", {(): state.asking.drifted})
    writer.write("monitor_drift_confirm_windows", "Windows in a row that confirm drift.", {(): policy.confirm})
    writer.write("monitor_drift_confirmed", "1 while drift is confirmed.", {(): float(state.asking.confirmed)})
    between = windows_between_false_confirmations(workload.drift.false_alarm_rate, policy)
    writer.write(
        "monitor_expected_windows_between_false_confirmations",
        "Least mean number of windows without drift between two confirmations of it.",
        {(): between},
    )
    writer.write_drift(state.all_tests)
    if state.quality is not None:
        known = {"reference": state.quality.reference, "estimated": state.quality.estimated}
        if state.counted is not None and state.counted.actual is not None:
            known["actual"] = state.counted.actual
        writer.write(
            "production_accuracy_ratio",
            "Accuracy on the reference, and of the latest window: estimated from confidences, counted from labels.",
            {(by,): value for by, value in known.items()},
            ("by",),
        )
    delays = {window.at: window.delay for window in state.windows.values() if window.delay is not None}
    if delays:
        latest = delays[max(delays)]
        writer.write("production_label_delay_seconds", "From predictions to the latest labels.", {(): latest})


def _write_launches(writer: Writer, workload: Workload, seen: Snapshot) -> None:
    state = seen.state
    started = {(source,): state.launch_counts.get(source, 0) for source in get_args(Source)}
    writer.count("monitor_launches", "Re-prunes that were started, or tried to be.", started, ("source",))
    in_flight = sum(launch.in_flight for launch in state.launches)
    writer.write("monitor_launches_in_flight", "Re-prunes that run now.", {(): in_flight})
    if state.launches:
        words = [word for part in get_args(Progress) for word in (get_args(part) or (part,))]
        writer.one_hot(
            "monitor_last_launch",
            "1 for how the latest re-prune fares.",
            "progress",
            words,
            state.launches[-1].progress,
        )
    waits = waiting_seconds(state, workload.monitor, now=seen.now)
    writer.write("monitor_cooldown_seconds", "Time until the next re-prune may start.", {(): waits})
    refused = {reason: state.refusal_counts.get(reason, 0) for reason in REFUSALS} | dict(seen.refusals)
    counts = {(reason,): count for reason, count in refused.items()}
    writer.count("monitor_refusals", "Requests for a re-prune that were refused.", counts, ("reason",))


def _write_champion(writer: Writer, workload: Workload, seen: Snapshot) -> None:
    actions = [move.action for move in seen.history.moves]
    writer.count("promotions", "Promotions of a champion.", {(): actions.count("promote")})
    writer.count("rollbacks", "Rollbacks to an earlier champion.", {(): actions.count("rollback")})
    if seen.history.champion is not None:
        since = seen.history.champion.since.timestamp()
        writer.write("champion_since_timestamp_seconds", "When the champion became champion.", {(): since})
    lineage = seen.champion.lineage if seen.champion else {}
    measured = ChampionMetrics.from_lineage(lineage)
    if measured is not None:
        writer.write_champion(measured)
        if workload.serving is not None:
            saved = estimate(lineage["comparison"], workload.target[0], workload.serving)
            cores = {("estimate",): saved.cores, ("lower",): saved.cores_lower}
            writer.write("savings_cores", "Cores that dense would keep busy beyond the champion.", cores, ("bound",))
            price = {("estimate",): saved.per_hour, ("lower",): saved.per_hour_lower}
            writer.write("savings_price_per_hour", "Price of these cores, per hour.", price, ("bound",))
