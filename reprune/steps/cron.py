"""Schedules as Kubeflow Pipelines reads them: cron with six fields, seconds first, in UTC."""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reprune.errors import InputError

_FIELDS = (("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 6))
_NAMES = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name} | {
    name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
}


@dataclass(frozen=True)
class Cron:
    """A schedule, checked.

    Attributes:
        text: The six fields, each parted from the next by one space.
        fields: The values that each field allows.
        any_day: Whether the day of the month, and the day of the week, are left open.
    """

    text: str
    fields: tuple[frozenset[int], ...]
    any_day: tuple[bool, bool]

    def next_time(self, after: datetime) -> datetime:
        """Return the first time after another at which the schedule fires, in UTC.

        Raises:
            InputError: It never does.
        """
        seconds, minutes, hours = (sorted(field) for field in self.fields[:3])
        moment = after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        day = moment.date()
        for _ in range(366 * 8):  # the longest wait for a 29 February
            if self._fires_on(day.day, day.month, (day.weekday() + 1) % 7):
                for hour in hours:
                    for minute in minutes:
                        for second in seconds:
                            at = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)
                            if at >= moment:
                                return at
            day += timedelta(days=1)
        raise InputError(f"--cron: {self.text!r} never fires.", "Name a day that its months have.")

    def _fires_on(self, day: int, month: int, weekday: int) -> bool:
        """Return whether a day is one of them; where both kinds of day are named, either will do."""
        if month not in self.fields[4]:
            return False
        on_day, on_weekday = day in self.fields[3], weekday in self.fields[5]
        return on_day and on_weekday if any(self.any_day) else on_day or on_weekday


def parse(text: str) -> Cron:
    """Return a schedule.

    Args:
        text: As in ``0 0 3 * * *``: second, minute, hour, day of the month, month, day of the week.

    Raises:
        InputError: It has not six fields, or one of them cannot be read, or it never fires.
    """
    parts = text.split()
    if len(parts) != 6:
        remedy = "Six fields are needed, seconds first and in UTC: 0 0 3 * * * is every day at 03:00."
        if len(parts) == 5:
            remedy += f" Did you mean '0 {' '.join(parts)}'?"
        raise InputError(f"--cron: {text!r} has {len(parts)} fields.", remedy)
    fields = tuple(_field(part, *form, text=text) for part, form in zip(parts, _FIELDS, strict=True))
    cron = Cron(" ".join(parts), fields, (parts[3] in ("*", "?"), parts[5] in ("*", "?")))
    cron.next_time(datetime.now(UTC))
    return cron


def _field(part: str, name: str, lowest: int, highest: int, *, text: str) -> frozenset[int]:
    values: set[int] = set()
    try:
        for item in part.split(","):
            span, slash, step = item.partition("/")
            first, dash, last = span.partition("-")
            if span in ("*", "?"):
                start, end = lowest, highest
            else:
                start = _number(first)
                end = _number(last) if dash else (highest if slash else start)
            every = int(step) if slash else 1
            if not lowest <= start <= end <= highest or every < 1:
                raise ValueError
            values.update(range(start, end + 1, every))
    except ValueError:
        raise InputError(
            f"--cron: {part!r} is no {name} in {text!r}.",
            f"Use {lowest} to {highest}, *, lists (1,15), ranges (1-5) and steps (*/10).",
        ) from None
    return frozenset(values)


def _number(text: str) -> int:
    return _NAMES[text.lower()] if text.lower() in _NAMES else int(text)
