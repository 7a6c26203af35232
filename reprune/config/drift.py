"""When a difference counts as drift; every key has a default."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Group = Literal["inputs", "predictions", "embeddings", "quality", "labels"]
"""What a test looks at."""

LATE: tuple[Group, ...] = ("labels", "quality")
"""Groups whose values come later, for some rows."""


class DriftPolicy(BaseModel):
    """The ``drift`` section of a workload."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    false_alarm_rate: float = Field(0.01, ge=0.0001, le=0.2)
    """Chance that one window without any drift raises the alarm, over all tests together."""

    minimum_examples: int = Field(30, ge=10)
    """Fewest examples, in the window and in the reference, that anything is concluded from."""

    watch: tuple[Group, ...] = Field(("inputs", "predictions", "embeddings"), min_length=1)
    """What is compared. ``labels``, and ``quality`` (whether predictions are right), are left out by default: labels
    are often late, and placeholders would look like drift; add them where production data comes with true
    labels."""
