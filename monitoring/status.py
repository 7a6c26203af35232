"""The monitor's page for people."""

from datetime import UTC, datetime

from reprune.config.monitor import windows_between_false_confirmations
from reprune.config.serving import estimate
from reprune.config.workload import Workload
from reprune.drift.monitor.cooldown import waiting_seconds
from reprune.drift.monitor.metrics import Snapshot
from reprune.drift.monitor.monitor_state import State
from reprune.errors import RepruneError
from reprune.report.html import Block, Cell, KeyValues, Note, Section, Table, Tile, Tiles, Tone, page

WINDOWS, LAUNCHES, TESTS = 15, 10, 10
_TONES: dict[str, Tone] = {
    "drift": "warn",
    "broken": "bad",
    "set aside": "bad",
    "promoted": "good",
    "failed": "bad",
    "lost": "bad",
    "not-started": "bad",
    "rejected": "warn",
}


def render(workload: Workload, seen: Snapshot, problem: RepruneError | None, *, dry_run: bool) -> str:
    """Return the page.

    Args:
        workload: The workload.
        seen: What is known now.
        problem: What went wrong with the latest look at the store.
        dry_run: Whether re-prunes are only told of.
    """
    sections = [
        Section("Now", [*_problem(problem), _tiles(workload, seen, dry_run)]),
        Section("Champion", [_champion(workload, seen)]),
        Section("Windows", [_windows(seen.state)], lead=_confirmation(workload)),
        Section(
            "What moved", [_tests(seen.state), *_accuracy(seen.state)], lead="Tests of the latest conclusive window."
        ),
        Section("Re-prunes", [_launches(seen.state)], lead=_limits(workload, seen)),
    ]
    badge: tuple[str, Tone] = ("watching", "good")
    if seen.progress_age > seen.progress_limit:
        badge = ("stalled", "bad")
    elif not seen.ready:
        badge = ("not ready", "bad")
    elif seen.champion is None:
        badge = ("no champion yet", "plain")
    elif seen.state.asking.confirmed:
        badge = ("drift", "warn")
    looked = f"looked at {_moment(seen.last_look)}" if seen.last_look else "not looked at yet"
    return page(f"{workload.name} in production", f"{looked} · {_mode(dry_run)}", sections, badge=badge)


def _problem(problem: RepruneError | None) -> list[Block]:
    return [] if problem is None else [Note(f"The latest look failed. {problem.message} {problem.remedy}", "bad")]


def _tiles(workload: Workload, seen: Snapshot, dry_run: bool) -> Tiles:
    state = seen.state
    asking = state.asking
    drift: Tone = "warn" if asking.confirmed else "plain"
    flying = [launch for launch in state.launches if launch.in_flight]
    latest = max((window.at for window in state.windows.values()), default=None)
    return Tiles(
        [
            Tile(
                "drift",
                "confirmed" if asking.confirmed else f"{asking.drifted} of {workload.monitor.confirm}",
                f"{asking.drifted} windows in a row" if asking.confirmed else "windows in a row with drift",
                drift,
            ),
            Tile(
                "windows",
                f"{sum(state.window_counts.values()):,}",
                f"latest {_moment(latest)}" if latest else "none yet",
            ),
            Tile("re-prune", "running" if flying else "none running", _mode(dry_run), "warn" if flying else "plain"),
        ]
    )


def _champion(workload: Workload, seen: Snapshot) -> Block:
    champion = seen.history.champion
    if champion is None or seen.champion is None:
        return Note(f"There is none yet. Make one: reprune run {workload.name}")
    facts = {"version": champion.short, "since": f"{champion.since:%Y-%m-%d %H:%M} UTC", "why": champion.reason}
    if "comparison" in seen.champion.lineage:
        dense, *_, pruned = seen.champion.lineage["comparison"]
        low, high = pruned["speed_up_interval"]
        facts |= {
            pruned.get("metric", "accuracy"): f"{pruned['accuracy']:.1%} (dense {dense['accuracy']:.1%})",
            "median latency": f"{pruned['p50_seconds'] * 1e3:.3g} ms, {pruned['speed_up']:.2f}x as fast as dense "
            f"({low:.2f} – {high:.2f}), {pruned['target']}",
            "size": f"{pruned['size_bytes'] / 1e6:.2f} MB (dense {dense['size_bytes'] / 1e6:.2f} MB)",
        }
        if workload.serving is not None:
            saved = estimate(seen.champion.lineage["comparison"], workload.target[0], workload.serving)
            facts["estimated saving"] = (
                f"{saved.cores:.2f} cores, {saved.per_hour:.3g} an hour (at least {saved.per_hour_lower:.3g}) at "
                f"{workload.serving.requests_per_second:g} requests a second; busy time, by the median latency"
            )
    return KeyValues(facts)


def _windows(state: State) -> Block:
    latest = sorted(state.windows.values(), key=lambda window: (window.at, window.key), reverse=True)[:WINDOWS]
    if not latest:
        return Note("None has landed yet.")
    rows = [
        [
            Cell("/".join(window.key.split("/")[2:]), detail=f"judged {_moment(window.at)}"),
            Cell(window.verdict, _TONES.get(window.verdict, "plain")),
            window.summary,
            f"{window.examples:,}",
        ]
        for window in latest
    ]
    return Table(["window", "verdict", "in words", "examples"], rows, numeric=(3,))


def _tests(state: State) -> Block:
    if not state.all_tests:
        return Note("No window has been judged against this champion yet.")
    rows = [
        [
            test.name,
            Cell("beyond its threshold", "warn") if test.statistic > test.threshold else Cell("within"),
            f"{test.statistic:.3g}",
            f"{test.threshold:.3g}",
            f"{test.adjusted_p_value:.3g}",
        ]
        for test in sorted(state.all_tests, key=lambda test: test.adjusted_p_value)[:TESTS]
    ]
    return Table(["what", "verdict", "statistic", "threshold", "p of all"], rows, numeric=(2, 3, 4))


def _accuracy(state: State) -> list[Block]:
    if state.quality is None:
        return []
    low, high = state.quality.estimated_interval
    told = (
        f"Accuracy of the latest window, estimated from confidences: {state.quality.estimated:.1%} ({low:.1%} – "
        f"{high:.1%}); on the reference it was {state.quality.reference:.1%}."
    )
    if state.counted is not None:
        told += f" Counted on the latest {state.counted.labelled:,} labels: {state.counted.actual:.1%}."
    return [Note(told)]


def _launches(state: State) -> Block:
    if not state.launches:
        return Note("None has been started by this monitor.")
    rows = [
        [
            Cell(launch.id, detail=_moment(launch.at)),
            launch.source,
            Cell(launch.progress, _TONES.get(launch.progress, "plain")),
            launch.reason,
        ]
        for launch in reversed(state.launches[-LAUNCHES:])
    ]
    return Table(["re-prune", "asked for by", "progress", "why"], rows)


def _confirmation(workload: Workload) -> str:
    policy, rate = workload.monitor, workload.drift.false_alarm_rate
    between = windows_between_false_confirmations(rate, policy)
    together = ", or by two, four or eight together" if policy.online else ""
    return (
        f"Drift is confirmed by {policy.confirm} windows in a row{together}, and over after {policy.clear} without. "
        f"Without drift, about one window in {1 / rate:,.0f} alarms, and at most one in {between:,.0f} confirms it."
    )


def _limits(workload: Workload, seen: Snapshot) -> str:
    policy = workload.monitor
    waits = waiting_seconds(seen.state, policy, now=seen.now)
    next_one = f"the next not before {waits / 3600:.1f} hours from now" if waits else "the next may start at any time"
    refused = sum(seen.state.refusal_counts.values()) + sum(seen.refusals.values())
    return (
        f"At most one at a time, one in {policy.cooldown_hours:g} hours and {policy.maximum_per_day} a day; "
        f"{next_one}. {refused:,} requests were refused."
    )


def _mode(dry_run: bool) -> str:
    return "dry run: nothing is started" if dry_run else "re-prunes are started"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
