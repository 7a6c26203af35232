"""Fine-tuning that goes on under rounding, where the quantized file loses too much without."""

import copy
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict
from torch import nn

from reprune import hashing
from reprune.errors import StepError
from reprune.inference.onnx.export import export
from reprune.inference.onnx.quantize import best_int8
from reprune.steps import quantization, recovery
from reprune.steps.context import Step
from reprune.steps.quantization import Quantization
from reprune.training.qat import Rounding
from reprune.training.training_history import Epoch

NAME = "quantization-aware"
"""Of this training among the checkpoints, and of its cost in a bundle's lineage."""


class Awareness(BaseModel):
    """What quantization-aware fine-tuning came to.

    Attributes:
        helped: Whether the file made from the new weights is the one to serve.
        statement: Why, in words.
        before: How the file fared that was made from the candidate's own weights.
        after: How that of the new weights fared; None where the training failed.
        history: The training's epochs.
    """

    model_config = ConfigDict(frozen=True)

    helped: bool
    statement: str
    before: Quantization
    after: Quantization | None = None
    history: list[Epoch] = []


def fine_tune(
    step: Step, model: nn.Module, teacher: nn.Module, *, epochs: int, parent: object
) -> tuple[Awareness | None, nn.Module | None]:
    """Quantize the candidate as the export will; where that loses too much, train a copy on under rounding.

    Both files are compared with the candidate in float, which the copy does not replace: what learns to live with
    rounding gets worse without.

    Args:
        step: The step.
        model: The candidate; left as it is.
        teacher: The dense model.
        epochs: Passes over the train split.
        parent: Anything JSON can hold that names the candidate's origin; training goes on from checkpoints of the same.

    Returns:
        What became of it, None where it was not needed or not wanted; and the copy, if it is the one to quantize.
    """
    if not epochs:
        return None, None
    with TemporaryDirectory() as scratch:
        candidate, source = Path(scratch) / "candidate.onnx", Path(scratch) / "source.onnx"
        export(model, step.data.example(), candidate)
        before = quantization.quantize(step, candidate)
        if before is None or before.status != "lossy":
            return None, None
        chained = before.format == "int8" and best_int8(candidate) == "int8"
        trained, rounding = copy.deepcopy(model), Rounding(levels=64 if before.reduced_range else 127, chained=chained)
        try:
            history = recovery.learn(
                step,
                trained,
                recovery.settings(
                    step,
                    epochs=epochs,
                    learning_rate=recovery.recovery_rate(step),
                    seed=step.workload.seed + 2,
                    rounding=rounding,
                ),
                teacher=teacher,
                checkpoints=step.checkpoints(hashing.of_json([parent, epochs, asdict(rounding)])),
                name=NAME,
                on_epoch=recovery.tell_epochs(step, epochs),
            )
        except StepError as error:
            statement = f"fine-tuning for {before.format} failed: {error.message}"
            return Awareness(helped=False, statement=statement, before=before), None
        export(trained, step.data.example(), source)
        after = quantization.quantize(step, candidate, source)
    helped, statement = after is not None and after.status == "made", _said(before, after, epochs)
    aware = Awareness(helped=helped, statement=statement, before=before, after=after, history=history.epochs)
    return aware, trained if helped else None


def _said(before: Quantization, after: Quantization | None, epochs: int) -> str:
    assert before.mixed is not None and after is not None
    lost = f"{before.format} lost {100 * before.mixed.loss.drop:.2g} points"
    return f"{lost}; after {epochs} epochs under rounding, {after.statement}"
