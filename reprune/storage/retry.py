"""Trying again, with longer and longer pauses, what a network or a disk may only refuse for the moment."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger(__name__)

PAUSES_SECONDS = (0.5, 2.0, 8.0, 20.0)
"""Pauses between the attempts; on S3 each attempt is itself up to three requests."""

_T = TypeVar("_T")


def insist(action: Callable[[], _T], *, on: type[Exception], but_not: type[Exception]) -> _T:
    """Return what an action returns, at the latest after as many attempts as there are pauses, and one.

    Args:
        action: What to do; it must be harmless to do it twice.
        on: The failure after which it is tried again.
        but_not: A kind of that failure which another attempt would not mend.
    """
    for pause in PAUSES_SECONDS:
        try:
            return action()
        except on as error:
            if isinstance(error, but_not):
                raise
            log.warning("%s Trying again in %g s.", str(error).splitlines()[0], pause)
        time.sleep(pause)
    return action()
