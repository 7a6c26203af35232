"""From a request to a re-prune: written down before it starts, started once, and followed to its end."""

import logging
import secrets
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from reprune.config.monitor import WatchPolicy
from reprune.drift.monitor.clock import SteadyClock
from reprune.drift.monitor.cooldown import Refusal, Request, recorded, refusal
from reprune.drift.monitor.monitor_state import Keeper, Launch, Outcome, State
from reprune.errors import RepruneError

log = logging.getLogger(__name__)

STARTING_SECONDS = 300.0
"""A launch that has been starting for this long was cut short: its monitor is gone."""


class Launcher(Protocol):
    """Starts re-prunes somewhere."""

    dry_run: bool
    """Whether it only says what it would start."""

    def start(self, launch: Launch) -> str:
        """Start a re-prune, and return by what it is found again.

        Raises:
            RepruneError: Nothing was started.
        """

    def find(self, launch: Launch) -> str | None:
        """Return the same for a launch whose start was cut short; None where it cannot be found."""

    def outcome(self, launch: Launch) -> Outcome | None:
        """Return how it ended; None while it runs.

        Raises:
            RepruneError: That cannot be found out now.
        """


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        launch: What was started, or None.
        refusal: Why nothing was, where something stood in the way.
        failure: What the launcher said, where it could not start it.
    """

    launch: Launch | None = None
    refusal: Refusal | None = None
    failure: RepruneError | None = None


class Trigger:
    """Starts re-prunes for those who may ask.

    Args:
        keeper: Of the state.
        policy: How often it may start one.
        launcher: Starts them.
        clock: Tells the time for the state.
    """

    def __init__(self, keeper: Keeper, policy: WatchPolicy, launcher: Launcher, clock: SteadyClock) -> None:
        self._keeper, self._policy, self._launcher, self._clock = keeper, policy, launcher, clock

    def ask(self, request: Request) -> Answer:
        """Start a re-prune if the guard lets it.

        The launch is in the state before anything starts, so that a monitor that is killed in between, or another
        one, does not start it again: at most one is started for each cause.

        Raises:
            StoreError: The state cannot be read or written; nothing was started.
            IntegrityError: The state is damaged; nothing was started.
        """
        launch_id = secrets.token_hex(4)
        admitted = self._keeper.change(lambda state: self._admit(state, request, launch_id))
        if not isinstance(admitted, Launch):
            log.info("no re-prune for %s (%s): %s", request.fingerprint, request.reason, admitted)
            return Answer(refusal=admitted)
        try:
            handle = self._launcher.start(admitted)
        except RepruneError as error:
            log.error("re-prune %s could not be started: %s", launch_id, error.message)
            self._keeper.change(lambda state: _update(state, launch_id, {"progress": "not-started"}))
            return Answer(failure=error)
        said = "would start (dry run)" if self._launcher.dry_run else "started"
        log.warning("re-prune %s %s, asked for by %s: %s", launch_id, said, request.source, request.reason)
        changes = {"progress": "dry-run" if self._launcher.dry_run else "running", "handle": handle}
        self._keeper.change(lambda state: _update(state, launch_id, changes))
        return Answer(launch=admitted.model_copy(update=changes))

    def follow(self) -> None:
        """Find out how the launches that are in flight fare.

        Raises:
            RepruneError: That cannot be found out now.
        """
        for launch in [launch for launch in self._keeper.read().launches if launch.in_flight]:
            changes: dict[str, str] = {}
            if launch.progress == "running":
                outcome = self._launcher.outcome(launch)
                changes = {"progress": outcome} if outcome else {}
            elif self._clock.now() - launch.steady > STARTING_SECONDS:
                handle = self._launcher.find(launch)
                changes = {"progress": "running", "handle": handle} if handle else {"progress": "lost"}
            if changes:
                log.info("re-prune %s: %s", launch.id, changes["progress"])
                self._keeper.change(partial(_update, launch_id=launch.id, changes=changes))

    def _admit(self, state: State, request: Request, launch_id: str) -> Launch | Refusal:
        now = max(self._clock.now(), state.steady)
        reason = refusal(state, request, self._policy, now=now, dry_run=self._launcher.dry_run)
        if reason is not None:
            state.refusal_counts[reason] = state.refusal_counts.get(reason, 0) + 1
            return reason
        state.steady, state.wall = now, self._clock.wall()
        return recorded(state, request, launch_id, now=now, wall=self._clock.wall())


def _update(state: State, launch_id: str, changes: dict[str, str]) -> None:
    """Change a launch in the state."""
    state.launches = [
        launch.model_copy(update=changes) if launch.id == launch_id else launch for launch in state.launches
    ]
