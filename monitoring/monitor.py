"""The monitor: looks at the store again and again, acts on what it finds, and answers those who ask."""

import logging
import threading
from collections import Counter

from reprune.config.workload import Workload
from reprune.drift.monitor.clock import SteadyClock
from reprune.drift.monitor.metrics import Snapshot
from reprune.drift.monitor.monitor_state import Keeper, State
from reprune.drift.monitor.retrain_trigger import Answer, Launcher, Trigger
from reprune.drift.monitor.watchdog import Progress
from reprune.drift.monitor.watcher import Watcher
from reprune.errors import RepruneError
from reprune.monitoring import webhook
from reprune.registry.history import History
from reprune.registry.manifest import Version
from reprune.registry.registry import Registry
from reprune.storage.base import Store

log = logging.getLogger(__name__)


class Monitor:
    """One workload's monitor.

    Args:
        workload: The workload.
        store: Where its log, its registry and the monitor's state are.
        launcher: Starts re-prunes.
        progress: Where it notes that it gets on.

    Raises:
        IntegrityError: The state in the store is damaged.
        StoreError: The store cannot be used, or ignores conditional writes, so that two monitors could both start one.
    """

    def __init__(self, workload: Workload, store: Store, launcher: Launcher, progress: Progress | None = None) -> None:
        store.check(write=True)
        store.check_conditional_writes()
        self.workload, self.store, self.dry_run = workload, store, launcher.dry_run
        self.problem: RepruneError | None = None
        self.refusals: Counter[str] = Counter(dict.fromkeys(webhook.REFUSED, 0))
        keeper = Keeper(store, workload.name)
        state = keeper.read()
        self._clock = SteadyClock(state.steady, state.wall)
        self._keeper = keeper
        self._registry = Registry(store, workload.name)
        self._progress = progress or Progress()
        self._watcher = Watcher(workload, store, keeper, self._clock, progress=self._progress)
        self._trigger = Trigger(keeper, workload.monitor, launcher, self._clock)
        self._last_look, self._errors = 0.0, 0
        self._state: State = state
        self._history = History()
        self._version: Version | None = None

    @property
    def stalled(self) -> str:
        """In words, what has kept the monitor for too long; empty while it gets on. Asks nothing but a clock."""
        return self._progress.stalled

    def watch(self, stop: threading.Event, interval: float) -> None:
        """Look at the store at an interval, in seconds, until an event is set."""
        self._progress.expect(interval, self.workload.monitor.window_seconds)
        while not stop.is_set():
            self.look(stop)
            self._progress.mark("waiting for the next look")
            stop.wait(interval)

    def close(self) -> None:
        """End the process that judges windows, from any thread."""
        self._watcher.close()

    def look(self, stop: threading.Event | None = None) -> None:
        """Look at the store once; what goes wrong is told by `snapshot`, and never ends the monitor."""
        try:
            self._progress.mark("finding out how re-prunes fare")
            self._trigger.follow()
            self._progress.mark("reading the champion and the state")
            for request in self._watcher.look():
                if request is not None:
                    self._trigger.ask(request)
                if stop is not None and stop.is_set():
                    return
            self._refresh()
        except Exception as error:  # the next look may go well
            known = isinstance(error, RepruneError)
            log.error("%s", error) if known else log.exception("the look at the store failed")
            self.problem = (
                error if isinstance(error, RepruneError) else RepruneError(f"{type(error).__name__}: {error}")
            )
            self._errors += 1
        else:
            self.problem, self._last_look = None, self._clock.wall()

    def alerted(self, body: bytes) -> list[Answer | webhook.Passed]:
        """Act on what Alertmanager posted: at most one re-prune is started.

        Raises:
            InputError: It is not what Alertmanager posts.
            RepruneError: The state cannot be read or written; nothing was started.
        """
        answers: list[Answer | webhook.Passed] = []
        for request in webhook.requests(body, self.workload.name):
            if isinstance(request, str):
                self.refusals[request] += 1
                answers.append(request)
            else:
                answers.append(self._trigger.ask(request))
        return answers

    def snapshot(self) -> Snapshot:
        """Return what is known now; what was known last where the store does not answer."""
        try:
            self._refresh()
        except RepruneError as error:
            log.warning("%s", error.message)
        return Snapshot(
            state=self._state,
            history=self._history,
            champion=self._version,
            now=self._clock.now(),
            ready=self.problem is None and self._last_look > 0 and not self.stalled,
            last_look=self._last_look,
            progress_age=self._progress.age_seconds,
            progress_limit=self._progress.limit_seconds,
            errors=self._errors,
            clock_jumps=self._clock.jumps,
            refusals=self.refusals,
        )

    def _refresh(self) -> None:
        state, history, version = self._keeper.read(), self._registry.document(), self._version
        champion = history.champion
        if champion is None:
            version = None
        elif version is None or version.id != champion.version:
            version = self._registry.version(champion.version)
        self._state, self._history, self._version = state, history, version
