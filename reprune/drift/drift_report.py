"""What a comparison of a window with the reference found."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from reprune.config.drift import Group

Method = Literal[
    "location, spread, shape",
    "Kolmogorov-Smirnov",
    "chi-square",
    "MMD²",
    "dependence",
    "given the others",
    "summed bins",
]


class Effect(BaseModel):
    """How far one column moved, whether or not that is more than chance; from all rows."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    psi: float
    """Population stability index over tenths of the reference, or over categories; missing values are one more."""
    distance: float
    """Largest difference of the distribution functions (Kolmogorov-Smirnov), or total variation of categories."""
    wasserstein: float | None
    """Mean distance that values moved, in standard deviations of the reference; None for categories."""
    shift: float | None
    """Difference of the means in standard deviations of the reference; None for categories, and where the reference
    does not vary."""
    missing: tuple[float, float]
    """Share of rows without a value, in reference and window."""
    new_categories: tuple[str, ...] = ()
    """Some of the categories that the reference does not tell apart."""


class DriftTest(BaseModel):
    """One test of one window."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    name: str
    """What was compared: a column, or a whole group jointly."""
    group: Group
    method: Method
    statistic: float
    threshold: float
    """What the statistic must exceed for an alarm, at these sample sizes."""
    p_value: float
    """Of this test on its own."""
    adjusted_p_value: float
    """Over all tests of the window together."""
    reference_examples: int
    window_examples: int
    effect: Effect | None
    """None for joint tests."""
    alarm: bool


class Histogram(BaseModel):
    """One column's distribution in reference and window."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    name: str
    categorical: bool
    edges: tuple[float, ...]
    """Edges of the bins, one more than bins; empty where categorical."""
    categories: tuple[str, ...] = ()
    reference: tuple[float, ...]
    """Share of examples in each bin."""
    window: tuple[float, ...]


class Quality(BaseModel):
    """Accuracy of a window; intervals are of 95 %."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    reference: float
    """Accuracy on the reference."""
    estimated: float
    """From confidences, on the rows of the window's sample."""
    estimated_interval: tuple[float, float]
    """Where the accuracy of these rows lies, as long as the model is as right at each confidence as it was."""
    actual: float | None = None
    """Counted on the rows whose labels are known; None where those are fewer than 30."""
    actual_interval: tuple[float, float] | None = None
    labelled: int = 0
    """Rows of the window whose labels are known."""
    agrees: bool | None = None
    """Whether the estimate for the labelled rows alone holds their actual accuracy in its interval. Where it does not,
    the model errs in new ways, and estimates for rows without labels cannot be relied upon."""


class DriftReport(BaseModel):
    """What moved, and whether that is more than chance."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

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
    separability: float | None = None
    """How well a linear classifier tells window from reference on examples that it has not seen (area under the
    curve, 0.5 is not at all); only where the alarm is raised."""
    quality: Quality | None = None
    """Where the columns ``confidence`` and ``correct`` allow to say."""
    notes: tuple[str, ...] = ()
    """What was not compared, and why."""

    @property
    def drifted(self) -> bool:
        """Whether the alarm is raised."""
        return self.verdict == "drift"

    @property
    def alarms(self) -> tuple[DriftTest, ...]:
        """The tests beyond their thresholds."""
        return tuple(test for test in self.tests if test.alarm)
