"""What a pruned champion is estimated to save: measured time per request × request rate × price."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reprune.config.target import Target


class Serving(BaseModel):
    """The ``serving`` section of a workload: what the estimate of savings starts from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_second: float = Field(gt=0)
    """Examples that production answers, on average."""

    price_per_hour: float = Field(gt=0)
    """What one core (or one accelerator) costs for an hour, in a currency of your own."""


class Savings(BaseModel):
    """Machine time that is not needed any more, and its price.

    It is busy time: money is saved when the machines are given back, or answer more.
    """

    model_config = ConfigDict(frozen=True)

    cores: float
    """Cores (accelerators) that dense would keep busy beyond what the champion does, by the median latency."""

    cores_lower: float
    """The same by the lower end of the interval of the measured speed-up; 0 where that does not exclude 1."""

    price_per_hour: float
    """Price of one core for an hour."""

    @property
    def per_hour(self) -> float:
        """Price of what is saved, per hour."""
        return self.cores * self.price_per_hour

    @property
    def per_hour_lower(self) -> float:
        """The same by the lower end of the interval."""
        return self.cores_lower * self.price_per_hour


def estimate(comparison: Sequence[Mapping[str, Any]], target: Target, serving: Serving) -> Savings:
    """Estimate what a champion saves against the dense model.

    Args:
        comparison: Rows of dense and pruned, as the gate recorded them before the promotion.
        target: Where they were measured: its batch size is how many examples one latency is of, its threads how many
            cores it kept busy.
        serving: Request rate and price.
    """
    dense, *_, pruned = comparison
    busy = serving.requests_per_second * dense["p50_seconds"] * target.threads / target.batch_size

    def saved(speed_up: float) -> float:
        return busy * (1 - 1 / speed_up)

    return Savings(
        cores=saved(pruned["speed_up"]),
        cores_lower=max(0.0, saved(pruned["speed_up_interval"][0])),
        price_per_hour=serving.price_per_hour,
    )
