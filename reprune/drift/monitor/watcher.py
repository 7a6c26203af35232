"""Looking through the prediction log: each new window is judged once, and drift is confirmed over several."""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from reprune.config.workload import Workload
from reprune.data import signals
from reprune.drift.monitor import prediction_log
from reprune.drift.monitor.clock import SteadyClock
from reprune.drift.monitor.confined_process import Confined, LimitError
from reprune.drift.monitor.cooldown import Request
from reprune.drift.monitor.monitor_state import UNREAD, Findings, Keeper, State, Window
from reprune.drift.monitor.watchdog import Progress
from reprune.drift.monitor.worker_messages import Judged, Order, late
from reprune.errors import RepruneError, StoreError
from reprune.inference.champion import ONNX
from reprune.registry.history import Champion
from reprune.registry.registry import Registry
from reprune.storage.base import NotFoundError, Store

log = logging.getLogger(__name__)

REFERENCE = "reference.safetensors"
TRIES = 3
"""Times that a window is tried which ends the monitor or cannot be fetched, before it is set aside."""


class Watcher:
    """Watches one workload's log.

    Args:
        workload: The workload.
        store: Where the log, the registry and the state are.
        keeper: Of the state.
        clock: For the state.
        judges: Judges the windows; by default a process of its own.
        progress: Where it notes that it gets on.

    Raises:
        InputError: There is no such task, or it cannot be used here.
    """

    def __init__(
        self,
        workload: Workload,
        store: Store,
        keeper: Keeper,
        clock: SteadyClock,
        judges: Confined | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._workload, self._store, self._keeper, self._clock = workload, store, keeper, clock
        self._registry = Registry(store, workload.name)
        signals.find(workload.task)  # refuse at the start a task that cannot be used here
        self._watches_labels = bool(late(workload.drift).watch)
        self._judges = judges or Confined(workload, store)
        self._scratch: TemporaryDirectory[str] | None = None
        self._fetched = ""
        self._begun: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._progress = progress or Progress()

    def look(self) -> Iterator[Request | None]:
        """Judge the windows that are new, one after the other.

        Yields:
            After each window a request for a re-prune, if confirmed drift asks for one, or None.

        Raises:
            StoreError: The store cannot be read or written, or a window cannot be fetched; the others are judged.
            IntegrityError: The registry, the champion or the state is damaged.
        """
        champion = self._registry.champion()
        state = self._keeper.change(lambda state: self._begin(state, champion))
        if champion is None:
            return
        keys = partial(prediction_log.keys, self._store, self._workload.name, today=self._today(), known=state.windows)
        failed: StoreError | None = None
        try:
            for key in chain(keys(), keys(labels=True) if self._watches_labels else ()):
                self._progress.mark(f"looking at {key}")
                try:
                    found = self._new(key, state, champion)
                except StoreError as error:
                    self._store.check(write=True)  # a store that is away is not the window's fault
                    if (seen := state.windows.get(key)) is not None and seen.modified == "":
                        continue
                    found = self._unfetched(key, error)
                    failed = failed or (error if found is None else None)
                if found is not None:
                    request = self._keeper.change(partial(self._note, found=found, champion=champion))
                    if found.kept is not None:
                        self._tidy()
                    yield request
        finally:
            self._judges.end()
        if failed is not None:
            raise failed

    def close(self) -> None:
        """End what judges windows, from any thread; a window that is being judged is judged by the next monitor."""
        self._judges.close()

    def _tidy(self) -> None:
        from reprune.drift.monitor import window_history

        window_history.tidy(self._store, self._workload.name, self._keeper.read().together)

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

    def _new(self, key: str, state: State, champion: Champion) -> Judged | None:
        """Judge a window that was not looked at yet, or that could not be read and has been written anew."""
        seen = state.windows.get(key)
        if seen is not None and seen.verdict not in UNREAD:
            return None
        try:
            modified = self._store.modified(key).isoformat()
        except NotFoundError:
            return None  # deleted since it was listed
        if seen is not None and seen.modified == modified:
            return None
        window = Window(key=key, modified=modified, verdict="set aside", summary="", at=self._clock.wall())
        if key not in self._begun:
            self._begun.add(key)
            if self._keeper.change(partial(_begin_window, key=key)) > TRIES:
                return _set_aside(window, f"judging it ended the monitor {TRIES} times; was there memory enough?")
        return self._judge(window, champion, self._version(champion))

    def _judge(self, window: Window, champion: Champion, version: Path) -> Judged | None:
        known = self._keeper.read()
        order = Order(
            key=window.key,
            modified=window.modified,
            at=window.at,
            champion=champion.version,
            folder=version,
            together=known.together,
            unread={it.key: it.modified for it in known.windows.values() if it.verdict in UNREAD},
        )
        try:
            found = self._judges.judge(order)
        except LimitError as error:
            return _set_aside(window, error.message)
        except NotFoundError:
            return None  # deleted meanwhile
        except RepruneError:
            self._begun.discard(window.key)
            self._keeper.change(lambda state: state.begun.pop(window.key, None))  # it did not end the monitor
            raise
        if found.window.verdict == "broken":
            log.warning("%s is broken: %s", window.key, found.window.summary)
        return found

    def _unfetched(self, key: str, error: StoreError) -> Judged | None:
        """Set a window aside that the store failed to give several times, while it gives others."""
        self._failures[key] += 1
        if self._failures[key] < TRIES:
            return None
        try:
            modified = self._store.modified(key).isoformat()
        except StoreError:
            modified = ""  # then it is judged as soon as this can be said
        window = Window(key=key, modified=modified, verdict="set aside", summary="", at=self._clock.wall())
        return _set_aside(window, f"it could not be fetched {TRIES} times: {error.message}")

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
        return Path(self._scratch.name)

    def _note(self, state: State, found: Judged, champion: Champion) -> Request | None:
        """Count a window in the state, and return a request if it confirms drift."""
        window = found.window
        seen = state.windows.get(window.key)
        if seen is not None and seen.modified == window.modified:
            return None  # another monitor was quicker
        state.windows[window.key] = window
        state.begun.pop(window.key, None)
        kept = prediction_log.recent(state.windows, today=self._today())
        state.windows = {key: it for key, it in sorted(state.windows.items()) if key in kept}
        state.window_counts[window.verdict] = state.window_counts.get(window.verdict, 0) + 1
        if state.champion != champion.version or window.verdict in UNREAD:
            return None
        if found.kept is not None:
            state.together = found.kept
        findings = state.late if prediction_log.is_labels(window.key) else state
        if window.verdict in ("drift", "no drift"):
            findings.quality, findings.tests = found.quality, found.tests
        findings.follow(window, self._workload.monitor)
        if window.verdict != "drift" or not findings.confirmed:
            return None
        return Request(
            source="drift",
            fingerprint=f"{champion.version[:12]} {findings.episode}",
            reason=f"drift in {findings.drifted} windows in a row; {window.summary}",
        )


def _set_aside(window: Window, reason: str) -> Judged:
    log.warning("%s is set aside: %s", window.key, reason)
    return Judged(window=window.model_copy(update={"summary": reason}))


def _begin_window(state: State, key: str) -> int:
    """Note that a window is about to be judged; returns how many processes have begun so."""
    state.begun[key] = state.begun.get(key, 0) + 1
    return state.begun[key]
