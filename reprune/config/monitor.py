"""When watching leads to a re-prune; every key has a default."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Source = Literal["drift", "alert"]
"""What may ask for a re-prune: drift that the monitor itself confirmed, or an alert."""


class WatchPolicy(BaseModel):
    """The ``monitor`` section of a workload."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confirm: int = Field(2, ge=1, le=20)
    """Windows in a row with drift before it counts as confirmed."""

    clear: int = Field(2, ge=1, le=20)
    """Windows in a row without drift before confirmed drift counts as over."""

    online: bool = False
    """Whether windows are judged two, four and eight together as well, so that slow drift shows; drift that several
    show together is confirmed by that alone."""

    act_on: tuple[Source, ...] = ("drift", "alert")
    """What may ask for a re-prune; empty for none."""

    cooldown_hours: float = Field(12.0, ge=0, le=24 * 365)
    """Least time from the start of one re-prune to the start of the next."""

    maximum_per_day: int = Field(2, ge=1, le=100)
    """Most re-prunes that are started in any 24 hours."""

    window_seconds: float = Field(600.0, gt=0, le=24 * 3600)
    """Longest time that one window is judged; one that takes longer is set aside."""

    window_memory_megabytes: int = Field(512, ge=128, le=1 << 20)
    """Most memory that judging one window may take, in 10^6 bytes, beyond the libraries and the champion; one that
    needs more is set aside. It holds on Linux."""

    window_file_megabytes: int = Field(512, ge=1, le=1 << 20)
    """Largest file of a window, in 10^6 bytes, as it is and as it declares to be once it is unpacked."""


def windows_between_false_confirmations(false_alarm_rate: float, policy: WatchPolicy) -> float:
    """Return the least mean number of windows without drift between two confirmations, over many references.

    Each of the looks has its share of the false-alarm rate, and expectations add up whatever the looks have in common:
    the reference above all, for one that is unlike the rest by chance is so for every window. A confirmation by windows
    in a row takes that many alarms, and one by windows together takes one. So there are no more confirmations than
    this, also where alarms come in a cluster; where windows alarm independently, there are far fewer by windows in a
    row.

    Args:
        false_alarm_rate: Chance of an alarm in one window without drift, over all looks.
        policy: How drift is confirmed.
    """
    from reprune.drift.sequential import LONGEST, LOOKS  # not for those who only read a workload: it takes scipy

    p = false_alarm_rate * (LONGEST / LOOKS if policy.online else 1)
    together = p * (LOOKS - LONGEST) / LONGEST if policy.online else 0.0
    return 1 / (p / policy.confirm + together)
