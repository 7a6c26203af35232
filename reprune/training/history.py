"""What a training did, epoch by epoch."""

from pydantic import BaseModel, ConfigDict


class Epoch(BaseModel):
    """One pass over the train split."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    loss: float
    """Mean training loss over the epoch."""
    validation_score: float
    """Mean score on the validation split after the epoch."""
    learning_rate: float
    seconds: float


class History(BaseModel):
    """All epochs of one training."""

    epochs: list[Epoch] = []
