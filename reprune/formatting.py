"""Numbers as people read them, the same way in every statement, page and table."""

from collections.abc import Callable

Form = Callable[[float], str]

_TIMES = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs"))
_SIZES = ((1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (1e3, 1e3, "kB"), (0.0, 1.0, "B"))


def points(share: float) -> str:
    """Return a share in points: ``0.3`` for 0.003."""
    return _minus(f"{100 * share:.1f}" if abs(share) >= 0.001 or share == 0 else f"{100 * share:.2f}")


def percent(share: float) -> str:
    """Return a share in percent: ``98.7 %``."""
    return f"{100 * share:.1f} %"


def score(value: float) -> str:
    """Return a mean score: ``98.7%`` of what is a share, ``−1.234`` of what cannot be one."""
    return f"{value:.1%}" if 0 <= value <= 1 else plain(value)


def plain(value: float) -> str:
    """Return a number with three decimals."""
    return _minus(f"{value:.3f}")


def bound(confidence: float) -> str:
    """Return what a one-sided bound is called: ``95 % bound``."""
    return f"{100 * confidence:.3g} % bound"


def times(ratio: float) -> str:
    """Return a ratio: ``0.32x``."""
    return f"{ratio:.2f}x"


def seconds(value: float) -> str:
    """Return a duration: ``0.62 ms``."""
    return _scaled(value, _TIMES)


def clock(seconds: float) -> str:
    """Return seconds as people read them: ``0:38`` or ``1:02:03``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def seconds_interval(value: float, low: float, high: float) -> str:
    """Return the interval of a duration, in the unit that the duration itself is told in: ``0.61 – 0.64``."""
    _, factor, _ = next(row for row in _TIMES if abs(value) >= row[0])
    digits = 2 if value * factor < 10 else 1 if value * factor < 100 else 0
    return f"{low * factor:.{digits}f} – {high * factor:.{digits}f}"


def size(value: float) -> str:
    """Return a number of bytes: ``1.1 MB``."""
    return _scaled(value, _SIZES)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a counted noun: ``1,797 examples``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def about(number: int) -> str:
    """Return a number to two digits: ``about 1,300``; nobody collects a million examples on the strength of a guess."""
    if number > 1_000_000:
        return "more than a million"
    digits = max(len(str(number)) - 2, 0)
    return f"about {-(-number // 10**digits) * 10**digits:,}"


def _scaled(value: float, units: tuple[tuple[float, float, str], ...]) -> str:
    _, factor, unit = next(row for row in units if abs(value) >= row[0])
    scaled = value * factor if unit in ("s", "ms", "µs") else value / factor
    return (
        f"{scaled:.0f} {unit}"
        if unit == "B" or scaled >= 100
        else f"{scaled:.1f} {unit}"
        if scaled >= 10
        else f"{scaled:.2f} {unit}"
    )


def _minus(text: str) -> str:
    """Return a number with a minus sign, and without one where it is nought."""
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")
