"""What a training did, epoch by epoch, and what befell it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Epoch(BaseModel):
    """One pass over the train split."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    epoch: int
    loss: float
    """Mean training loss over the epoch."""
    validation_score: float
    """Mean score on the validation split after the epoch."""
    learning_rate: float
    seconds: float


class Incident(BaseModel):
    """Something that the training survived, and how."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    kind: Literal["diverged", "out-of-memory"]
    epoch: int
    """The epoch under way, counted from one."""
    text: str
    """What happened and what was done about it, in a sentence."""


class History(BaseModel):
    """All epochs of one training."""

    epochs: list[Epoch] = []
    incidents: list[Incident] = []
