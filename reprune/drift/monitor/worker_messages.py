"""What the monitor and the process that judges its windows say to each other: lines of JSON, never a pickle."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from reprune.config.drift import LATE, DriftPolicy
from reprune.drift.drift_report import Quality
from reprune.drift.monitor.monitor_state import Window
from reprune.errors import ConflictError, InputError, IntegrityError, RepruneError, StepError, StoreError
from reprune.metrics import DriftMetrics
from reprune.storage.base import NotFoundError

_KINDS = (InputError, StepError, StoreError, NotFoundError, ConflictError, IntegrityError)


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Setup(_Line):
    """The first line that the process reads."""

    workload: dict[str, Any]
    store: str
    """URI of the store."""


class Order(_Line):
    """A window to judge."""

    key: str
    modified: str
    """When the file was last written, as the store says."""
    at: float
    """Now, in seconds since 1970."""
    champion: str
    """Version of the champion."""
    folder: Path
    """Where its model and its reference are."""
    together: tuple[str, ...] = ()
    """Keys of the summaries of windows that this one is judged together with."""
    unread: dict[str, str] = {}
    """Windows that could not be judged, and when they were written."""


class Judged(_Line):
    """What came of looking at a window."""

    window: Window
    tests: tuple[DriftMetrics, ...] = ()
    """The most surprising first."""
    quality: Quality | None = None
    kept: tuple[str, ...] | None = None
    """Keys of the summaries that the next window is judged together with; None if it is judged alone."""


class Failure(_Line):
    """An error that is not the window's, as far as the process knows."""

    kind: str
    message: str
    remedy: str

    @classmethod
    def of(cls, error: RepruneError) -> "Failure":
        """Return an error as it is sent."""
        return cls(kind=type(error).__name__, message=error.message, remedy=error.remedy)

    def error(self) -> RepruneError:
        """Return the error as it was raised."""
        kinds: dict[str, type[RepruneError]] = {kind.__name__: kind for kind in _KINDS}
        return kinds.get(self.kind, RepruneError)(self.message, self.remedy)


class Answer(_Line):
    """A line that the process writes: one when it is ready, and one for each order."""

    ready: bool = False
    judged: Judged | None = None
    failure: Failure | None = None
    short_of_memory: bool = False


def late(policy: DriftPolicy) -> DriftPolicy:
    """Return the policy for labels that came later: inputs were judged without them."""
    return policy.model_copy(update={"watch": tuple(group for group in policy.watch if group in LATE)})
