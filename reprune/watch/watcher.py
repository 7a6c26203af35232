"""Looking through the prediction log: each new window is judged once, and drift is confirmed over several."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reprune import signals
from reprune.champions import ONNX
from reprune.drift.policy import LATE
from reprune.entrypoints import describe
from reprune.errors import InputError, RepruneError
from reprune.metrics import DRIFT_TESTS, DriftMetrics
from reprune.registry import Champion, Registry
from reprune.store import NotFoundError, Store
from reprune.watch import labels, logs
from reprune.watch.clock import SteadyClock
from reprune.watch.guard import Request
from reprune.watch.state import Findings, Keeper, State, Window
from reprune.workload import Workload

if TYPE_CHECKING:
    from reprune.drift.verdict import DriftReport

log = logging.getLogger(__name__)

REFERENCE = "reference.safetensors"
DEATHS = 3
"""Processes that may end while they judge a window before it counts as broken, so that none ends them for ever."""


class Watcher:
    """Watches one workload's log.

    Args:
        workload: The workload.
        store: Where the log, the registry and the state are.
        keeper: Of the state.
        clock: For the state.

    Raises:
        InputError: There is no such task, or it cannot be used here.
    """

    def __init__(self, workload: Workload, store: Store, keeper: Keeper, clock: SteadyClock) -> None:
        self._workload, self._store, self._keeper, self._clock = workload, store, keeper, clock
        self._registry = Registry(store, workload.name)
        self._signals = signals.find(workload.task)
        told = tuple(group for group in workload.drift.watch if group in LATE)
        self._late = workload.drift.model_copy(update={"watch": told})  # what inputs say was said without the labels
        self._scratch: TemporaryDirectory[str] | None = None
        self._fetched = ""
        self._inputs: dict[str, list[int | None]] = {}
        self._begun: set[str] = set()

    def look(self) -> Iterator[Request | None]:
        """Judge the windows that are new, one after the other.

        Yields:
            After each window a request for a re-prune, where confirmed drift asks for one, or None.

        Raises:
            StoreError: The store cannot be read or written; what was judged so far is kept.
            IntegrityError: The registry, the champion or the state is damaged.
        """
        champion = self._registry.champion()
        state = self._keeper.change(lambda state: self._begin(state, champion))
        if champion is None:
            return
        keys = partial(logs.keys, self._store, self._workload.name, today=self._today(), known=state.windows)
        for key in chain(keys(), keys(labels=True) if self._late.watch else ()):
            window = self._new(key, state, champion)
            if window is not None:
                request = self._keeper.change(partial(self._note, found=window, champion=champion))
                if window.kept is not None:
                    from reprune.watch import together

                    together.tidy(self._store, self._workload.name, self._keeper.read().together)
                yield request

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.wall(), UTC).date()

    def _begin(self, state: State, champion: Champion | None) -> State:
        """Take note of the time, and start anew where the champion is another."""
        state.steady, state.wall = max(state.steady, self._clock.now()), self._clock.wall()
        version = champion.version if champion else None
        if state.champion != version:
            state.champion, state.late, state.together = version, Findings(), ()
            for name, value in Findings():
                setattr(state, name, value)
        return state

    def _new(self, key: str, state: State, champion: Champion) -> "Judged | None":
        """Judge a window that was not looked at yet, or was broken and has been written anew."""
        seen = state.windows.get(key)
        if seen is not None and seen.verdict != "broken":
            return None
        try:
            modified = self._store.modified(key).isoformat()
            if seen is not None and seen.modified == modified:
                return None
            return self._judge(key, modified, champion)
        except NotFoundError:
            return None  # deleted since it was listed

    def _judge(self, key: str, modified: str, champion: Champion) -> "Judged":
        found = Window(key=key, modified=modified, verdict="broken", summary="", at=self._clock.wall())
        if key not in self._begun:
            self._begun.add(key)
            if self._keeper.change(partial(_begin_window, key=key)) > DEATHS:
                found.summary = f"judging it ended the monitor {DEATHS} times; is there memory enough?"
                return Judged(found)
        version = self._version(champion)
        with TemporaryDirectory() as folder:
            path = Path(folder) / Path(key).name
            self._store.download(key, path)
            try:
                judged = self._decide(path, champion, version, found)
            except InputError as error:
                found.summary = error.message.replace(f"{folder}/", "")
            except RepruneError:
                raise
            except Exception as error:  # a task of the user's own may raise anything
                found.summary = f"judging it failed: {describe(error)}"
            else:
                return judged
        log.warning("%s is broken: %s", key, found.summary)
        return Judged(found)

    def _decide(self, path: Path, champion: Champion, version: Path, found: Window) -> "Judged":
        from reprune.drift.decision import decide

        policy, late = self._workload.drift, logs.is_labels(found.key)
        if late:
            policy = self._late
            window, found.delay = labels.read(self._store, found.key, path, self._inputs)
        else:
            window = logs.read(path, self._inputs)
        found.examples = window.rows
        if self._workload.monitor.online and not late and len(window):
            return self._with_those_before(window, champion, version, found)
        decision = decide(champion.version, version, window, self._signals, policy, seed=self._workload.seed)
        found.verdict = decision.report.verdict if decision.report else "inconclusive"
        found.summary = decision.report.summary if decision.report else decision.reason
        return Judged(found, decision.report)

    def _with_those_before(self, window: logs.Window, champion: Champion, version: Path, found: Window) -> "Judged":
        """Judge a window alone, and together with those before it."""
        from reprune.drift import detect
        from reprune.drift.reference import Reference
        from reprune.watch import together

        reference, seed = Reference.load(version / REFERENCE), self._workload.seed
        sample = detect.observe(reference, window, version / ONNX, self._signals, seed=seed)
        added = together.add(
            self._store,
            self._workload.name,
            self._keeper.read().together,
            *detect.summaries(reference.sample, sample, name=found.key),
            self._workload.drift,
            name=f"{champion.version} {found.key} {found.modified}",
            seed=seed,
        )
        report, found.together = added.look.report, added.look.windows
        found.verdict = report.verdict
        found.summary = report.summary + (f", of {found.together} windows together" if found.together > 1 else "")
        return Judged(found, report, added.kept)

    def _version(self, champion: Champion) -> Path:
        """Return the folder with the champion's model and reference, fetched once."""
        if self._scratch is None or self._fetched != champion.version:
            scratch = TemporaryDirectory(prefix="reprune-champion-")
            try:
                self._registry.fetch(champion.version, Path(scratch.name), only=[ONNX, REFERENCE])
            except RepruneError:
                scratch.cleanup()
                raise
            if self._scratch is not None:
                self._scratch.cleanup()
            self._scratch, self._fetched = scratch, champion.version
            self._inputs = logs.inputs_of(Path(scratch.name) / ONNX)
        return Path(self._scratch.name)

    def _note(self, state: State, found: "Judged", champion: Champion) -> Request | None:
        """Count a window in the state, and return a request where it confirms drift."""
        window, report = found.window, found.report
        seen = state.windows.get(window.key)
        if seen is not None and seen.modified == window.modified:
            return None  # another monitor was quicker
        state.windows[window.key] = window
        state.begun.pop(window.key, None)
        kept = logs.recent(state.windows, today=self._today())
        state.windows = {key: it for key, it in sorted(state.windows.items()) if key in kept}
        state.window_counts[window.verdict] = state.window_counts.get(window.verdict, 0) + 1
        if state.champion != champion.version or report is None:
            return None
        if found.kept is not None:
            state.together = found.kept
        findings = state.late if logs.is_labels(window.key) else state
        if window.verdict in ("drift", "no drift"):
            tests = sorted(report.tests, key=lambda test: test.adjusted_p_value)[:DRIFT_TESTS]
            findings.quality = report.quality
            findings.tests = tuple(DriftMetrics.model_validate(test.model_dump()) for test in tests)
        findings.follow(window, self._workload.monitor)
        if window.verdict != "drift" or not findings.confirmed:
            return None
        return Request(
            source="drift",
            fingerprint=f"{champion.version[:12]} {findings.episode}",
            reason=f"drift in {findings.drifted} windows in a row; {window.summary}",
        )


@dataclass(frozen=True)
class Judged:
    """What came of looking at a window.

    Attributes:
        window: For the state.
        report: What the tests found; None where it is broken.
        kept: Keys of the summaries that the next window is judged together with; None where it is judged alone.
    """

    window: Window
    report: "DriftReport | None" = None
    kept: tuple[str, ...] | None = None


def _begin_window(state: State, key: str) -> int:
    """Note that a window is about to be judged; returns how many processes have begun so."""
    state.begun[key] = state.begun.get(key, 0) + 1
    return state.begun[key]
