"""What a comparison of a window with the reference found."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from reprune.drift.policy import Group


class DriftTest(BaseModel):
    """One test of one window."""

    model_config = ConfigDict(frozen=True)

    name: str
    """What was compared: a column, or a whole group jointly."""
    group: Group
    method: Literal["Kolmogorov-Smirnov", "G", "MMD²"]
    statistic: float
    threshold: float
    """What the statistic must exceed for an alarm, at these sample sizes."""
    p_value: float
    """Of this test on its own."""
    adjusted_p_value: float
    """Over all tests of the window together."""
    shift: float | None
    """Difference of the means in standard deviations of the reference; None for categories and joint tests, and
    where the reference does not vary."""
    alarm: bool


class Histogram(BaseModel):
    """One column's distribution in reference and window."""

    model_config = ConfigDict(frozen=True)

    name: str
    categorical: bool
    edges: tuple[float, ...]
    """Edges of the bins, one more than bins; the categories themselves where categorical."""
    reference: tuple[float, ...]
    """Share of examples in each bin."""
    window: tuple[float, ...]


class DriftReport(BaseModel):
    """What moved, and whether that is more than chance."""

    model_config = ConfigDict(frozen=True)

    verdict: Literal["drift", "no drift", "inconclusive"]
    summary: str
    """In words."""
    false_alarm_rate: float
    """Chance of ``drift`` while nothing drifted."""
    reference_examples: int
    window_examples: int
    tests: tuple[DriftTest, ...] = ()
    """Most surprising first."""
    histograms: tuple[Histogram, ...] = ()
    """Of the columns that moved most."""

    @property
    def drifted(self) -> bool:
        """Whether the alarm is raised."""
        return self.verdict == "drift"

    @property
    def alarms(self) -> tuple[DriftTest, ...]:
        """The tests beyond their thresholds."""
        return tuple(test for test in self.tests if test.alarm)
