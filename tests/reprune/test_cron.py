from datetime import UTC, datetime

import pytest

from reprune.errors import InputError
from reprune.steps import cron

NOW = datetime(2026, 11, 21, 14, 30, 0, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("0 0 3 * * *", "2026-11-22 03:00:00"),
        ("30 */15 * * * *", "2026-11-21 14:30:30"),
        ("0 30 14 * * ?", "2026-11-22 14:30:00"),
        ("0 0 9 * * MON-FRI", "2026-11-23 09:00:00"),
        ("0 0 0 1 jan *", "2027-01-01 00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 0 13 * 5", "2026-11-27 00:00:00"),
        ("0 5/20 15 * * *", "2026-11-21 15:05:00"),
    ],
)
def test_a_schedule_says_when_it_fires_next(text, then):
    assert f"{cron.parse(text).next_time(NOW):%Y-%m-%d %H:%M:%S}" == then


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 3 * * *", "Did you mean '0 0 3 * * *'"),
        ("daily", "Six fields"),
        ("0 0 24 * * *", "'24' is no hour"),
        ("0 0 3 * * 8", "'8' is no weekday"),
        ("0 0 5-3 * * *", "'5-3' is no hour"),
        ("0 */0 3 * * *", "is no minute"),
        ("0 0 3 31 2 *", "never fires"),
        ("", "Six fields"),
    ],
)
def test_what_is_no_schedule_is_refused_with_what_to_write(text, told):
    with pytest.raises(InputError) as error:
        cron.parse(text)
    assert told in str(error.value)
