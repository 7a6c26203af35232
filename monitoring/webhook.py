"""What Alertmanager posts: who may, what counts as a request for a re-prune, and what is passed over."""

import hmac
from collections.abc import Iterator
from hashlib import sha256
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reprune.drift.monitor.cooldown import Request
from reprune.errors import InputError

MAX_BYTES = 1024 * 1024
"""Largest body; Alertmanager's are a few kilobytes."""
MAX_ALERTS = 1000
ACTION = "reprune"
"""Value of the label ``action`` of an alert that asks for a re-prune."""

Passed = Literal["resolved", "other-workload", "no-action"]
Refused = Literal["unauthorized", "no-token", "oversized", "malformed"] | Passed
REFUSED: tuple[Refused, ...] = ("unauthorized", "no-token", "oversized", "malformed", *get_args(Passed))
"""Why the webhook refuses, as a label of metrics."""


class Alert(BaseModel):
    """An alert as Alertmanager's webhook sends it, version 4; other fields are not looked at."""

    model_config = ConfigDict(frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    startsAt: str = Field(max_length=64, pattern=r"^[0-9T:.Z+-]+$")
    fingerprint: str = Field(pattern="^[0-9a-f]{1,64}$")


class Body(BaseModel):
    """The body of a webhook."""

    model_config = ConfigDict(frozen=True)

    version: Literal["4"]
    alerts: tuple[Alert, ...] = Field(max_length=MAX_ALERTS)


def is_authorized(header: str | None, token: str) -> bool:
    """Return whether an Authorization header carries the token; takes as long whatever the header is."""
    digests = [sha256(text.encode()).digest() for text in (header or "", f"Bearer {token}")]
    return hmac.compare_digest(*digests)


def requests(body: bytes, workload: str) -> Iterator[Request | Passed]:
    """Yield what each alert asks for, or why it is passed over.

    Args:
        body: As it was posted.
        workload: Name of the workload that may be pruned again.

    Raises:
        InputError: It is not what Alertmanager posts.
    """
    try:
        posted = Body.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"][:4])
        raise InputError(
            f"The body is no webhook of Alertmanager: {where or 'it'}: {problem['msg'][:200]}.",
            "Post what Alertmanager posts, version 4.",
        ) from None
    for alert in posted.alerts:
        yield _request(alert, workload)


def _request(alert: Alert, workload: str) -> Request | Passed:
    if alert.labels.get("workload") != workload:
        return "other-workload"
    if alert.labels.get("action") != ACTION:
        return "no-action"
    if alert.status == "resolved":
        return "resolved"
    name = alert.labels.get("alertname", "an alert")[:80]
    return Request(source="alert", fingerprint=f"{alert.fingerprint} {alert.startsAt}", reason=f"{name} is firing")
