"""What the monitor knows, in the store: it outlives the process, and several monitors of one workload share it."""

import threading
from collections.abc import Callable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reprune.config.monitor import Source, WatchPolicy
from reprune.drift.drift_report import Quality
from reprune.errors import ConflictError, IntegrityError, StoreError
from reprune.metrics import DriftMetrics
from reprune.storage.base import NotFoundError, Store

ROOT = "monitor"
LAUNCHES = 100
"""Launches that are remembered."""
ATTEMPTS = 8

Verdict = Literal["drift", "no drift", "inconclusive", "broken", "set aside"]
"""Of a window. ``broken``: it cannot be read. ``set aside``: judging it broke a limit or ended the process."""
UNREAD: tuple[Verdict, ...] = ("broken", "set aside")
"""Verdicts on windows that are looked at again once they are written anew."""

Outcome = Literal["promoted", "waiting", "rejected", "nothing-to-do", "succeeded", "failed", "lost", "dry-run"]
Progress = Literal["starting", "running", "not-started"] | Outcome
"""Of a launch. ``not-started``: the launcher said no, so nothing runs. ``lost``: nobody knows whether it ever ran."""

_T = TypeVar("_T")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class Window(_Part):
    """A window of the prediction log that was looked at."""

    key: str
    modified: str
    """When the file was last written, as the store says."""
    verdict: Verdict
    summary: str
    examples: int = 0
    at: float
    """When it was judged, seconds since 1970."""
    together: int = 1
    """Windows that the verdict is about: it and those before it."""
    delay: float | None = None
    """Of labels that came later: seconds from the latest window that they are of."""


class Launch(_Part):
    """A re-prune that was started, or was about to be."""

    id: str
    source: Source
    fingerprint: str
    """What asked for it; nothing is started twice for the same."""
    reason: str
    at: float
    """When, by the wall clock, seconds since 1970."""
    steady: float
    """When, in seconds of watching."""
    progress: Progress = "starting"
    handle: str = ""
    """By what the launcher finds it again."""

    @property
    def in_flight(self) -> bool:
        """Whether it may still be running."""
        return self.progress in ("starting", "running")


class Findings(_Part):
    """What windows of one kind said, one after another."""

    drifted: int = 0
    """Windows in a row with drift, up to the latest conclusive one."""
    calm: int = 0
    """Windows in a row without."""
    episode: str = ""
    """The window that confirmed drift began with; empty while drift is not confirmed."""
    first_drifted: str = ""
    """The first window of the present row with drift."""
    tests: tuple[DriftMetrics, ...] = ()
    """Tests of the latest conclusive window, the most surprising first."""
    quality: Quality | None = None
    """Accuracy of the latest conclusive window, estimated, and counted where labels are known."""

    @property
    def confirmed(self) -> bool:
        """Whether drift is confirmed."""
        return bool(self.episode)

    def follow(self, window: Window, policy: WatchPolicy) -> None:
        """Confirm drift after enough windows in a row or by several together, and let it be over after enough without.

        One that is broken, set aside or too small to conclude anything from changes nothing.
        """
        if window.verdict == "drift":
            self.first_drifted = self.first_drifted or window.key
            self.drifted, self.calm = self.drifted + 1, 0
            if not self.confirmed and (self.drifted >= policy.confirm or window.together > 1):
                self.episode = self.first_drifted
        elif window.verdict == "no drift":
            self.drifted, self.calm, self.first_drifted = 0, self.calm + 1, ""
            if self.calm >= policy.clear:
                self.episode = ""


class State(Findings):
    """All that is kept from one look at the store to the next; what it finds itself is of the windows of the log."""

    format: Literal[1] = 1
    steady: float = 0.0
    wall: float | None = None
    champion: str | None = None
    """The version that the findings are about."""
    late: Findings = Findings()
    """Of files of labels that came later; each is a window."""
    windows: dict[str, Window] = {}
    """Windows and files of labels of the latest days, by key."""
    together: tuple[str, ...] = ()
    """Keys of the summaries of windows that are judged together with those to come."""
    begun: dict[str, int] = {}
    """Processes that began to judge a window and did not end it, by its key."""
    window_counts: dict[Verdict, int] = {}
    launches: list[Launch] = Field(default=[], max_length=LAUNCHES)
    launch_counts: dict[Source, int] = {}
    refusal_counts: dict[str, int] = {}

    @property
    def asking(self) -> Findings:
        """Return the findings that confirm drift, or that come closest to it."""
        return max(self, self.late, key=lambda it: (it.confirmed, it.drifted))

    @property
    def all_tests(self) -> tuple[DriftMetrics, ...]:
        """The latest tests of windows and of labels; what labels said later takes the place of what was said before."""
        late = {test.name for test in self.late.tests}
        return (*self.late.tests, *(test for test in self.tests if test.name not in late))

    @property
    def counted(self) -> Quality | None:
        """The latest accuracy that was counted from labels; None where none was."""
        return next((it for it in (self.late.quality, self.quality) if it is not None and it.actual is not None), None)

    def launch(self, launch_id: str) -> Launch | None:
        """Return a launch by its identifier."""
        return next((launch for launch in self.launches if launch.id == launch_id), None)


class Keeper:
    """Reads and changes the state in the store: of two changes at once none is lost.

    Args:
        store: Where it is kept.
        workload: Name of the workload.
    """

    def __init__(self, store: Store, workload: str) -> None:
        self.key = f"{ROOT}/{workload}/state.json"
        self._store = store
        self._lock = threading.Lock()
        self._was_there = False

    def read(self) -> State:
        """Return the state as it is in the store; a new one where there is none yet.

        Raises:
            IntegrityError: It is damaged. Nothing is started then: what was started before is not known.
            StoreError: It was there, and is gone: so is the store, most likely.
        """
        return self._read()[0]

    def change(self, change: Callable[[State], _T]) -> _T:
        """Let a function change the state, and write it if it did; the function may be called more than once.

        Returns:
            What the function returned the time that its change was written.

        Raises:
            IntegrityError: The state is damaged.
            StoreError: The store cannot be read or written, or others change the state all the time.
        """
        with self._lock:
            for _ in range(ATTEMPTS):
                state, token, before = self._read()
                returned = change(state)
                state.launches = state.launches[-LAUNCHES:]
                after = state.model_dump_json(indent=1).encode()
                if after == before:
                    return returned
                try:
                    self._store.put(self.key, after, if_match=token, if_absent=token is None)
                    self._was_there = True
                    return returned
                except ConflictError:
                    continue
        raise StoreError(
            f"{self._store.uri}/{self.key} is changed by others all the time.",
            "Run one monitor for each workload.",
        )

    def _read(self) -> tuple[State, str | None, bytes]:
        try:
            entry = self._store.entry(self.key)
        except NotFoundError:
            if self._was_there:
                raise StoreError(
                    f"{self._store.uri}/{self.key} was there, and is gone.",
                    "Bring the store back. If it was deleted on purpose, start the monitor again.",
                ) from None
            return State(), None, b""
        self._was_there = True
        try:
            return State.model_validate_json(entry.data), entry.token, entry.data
        except ValidationError as error:
            problem = error.errors()[0]
            raise IntegrityError(
                f"{self._store.uri}/{self.key} is damaged: {'.'.join(map(str, problem['loc']))} {problem['msg']}.",
                "Restore it from a backup, or delete it: the monitor then starts anew, and forgets what it started.",
            ) from None
