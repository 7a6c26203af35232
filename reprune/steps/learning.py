"""What the steps that learn have in common: their settings, their batches, and what they tell while they learn."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from reprune.step import Step
from reprune.tasks import Task
from reprune.training.evaluate import scores
from reprune.training.fit import Settings
from reprune.training.history import Epoch, Incident


def settings(step: Step, *, epochs: int, learning_rate: float, seed: int) -> Settings:
    """Return settings that follow the workload's ``train`` section in everything else."""
    train = step.workload.train
    return Settings(
        epochs=epochs,
        learning_rate=learning_rate,
        optimizer=train.optimizer,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
        seed=seed,
        micro_batch=train.micro_batch,
        precision=train.precision,
        ema=train.ema,
    )


def training_batches(step: Step) -> Callable[[int], Any]:
    """Return the function that gives the shuffled train split for a seed."""
    return lambda seed: step.data.training_batches(batch_size=step.workload.train.batch_size, seed=seed)


def validation_score(step: Step, model: nn.Module) -> float:
    """Return the mean score of a model on the validation split."""
    return float(scores(model, step.data.batches("validation"), step.task).mean())


def mean_loss(task: Task) -> Callable[[Any, Any], Tensor]:
    """Return a task's loss averaged over a batch, as saliencies take it."""
    return lambda outputs, targets: task.loss(outputs, targets).mean()


def tell_epochs(step: Step, epochs: int) -> Callable[[Epoch], None]:
    """Return a callback that tells the watcher of each epoch."""

    def tell(epoch: Epoch) -> None:
        score = f"{epoch.validation_score:.1%} on validation"
        step.progress(f"epoch {epoch.epoch} of {epochs} · loss {epoch.loss:.3f} · {score}", epoch.epoch / epochs)

    return tell


def tell_incidents(step: Step) -> Callable[[Incident], None]:
    """Return a callback that warns the watcher of what a training survived."""
    return lambda incident: step.warn(incident.text)
