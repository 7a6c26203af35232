"""What the steps that learn have in common: their settings, their batches, and what they tell while they learn."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from reprune import formatting
from reprune.config.workload import Workload
from reprune.data.model_io import call
from reprune.data.tasks import Task
from reprune.pruning.iterative.cost import Cost, macs_of
from reprune.pruning.iterative.rounds import Judgement
from reprune.steps.context import Step
from reprune.storage.checkpoints import Checkpoints
from reprune.training import workload_training
from reprune.training.evaluation import scores
from reprune.training.qat import Rounding
from reprune.training.trainer import Settings
from reprune.training.training_history import Epoch, History, Incident


def settings(step: Step, *, epochs: int, learning_rate: float, seed: int, rounding: Rounding | None = None) -> Settings:
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
        rounding=rounding,
    )


def learn(
    step: Step,
    model: nn.Module,
    settings: Settings,
    *,
    teacher: nn.Module | None = None,
    checkpoints: Checkpoints | None = None,
    name: str = "fit",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train a model in place on the step's workload, in as many processes as that asks for.

    Args:
        step: The step.
        model: Trained in place and left in eval mode.
        settings: How to train.
        teacher: The dense model, if it is to be learnt from.
        checkpoints: Where finished epochs are kept, if anywhere.
        name: Name of this training among the checkpoints.
        on_epoch: Called after each epoch.
    """
    workload, tell = step.workload, tell_incidents(step)
    if workload.train.processes == 1:
        return workload_training.learn(
            workload,
            step.data,
            step.task,
            model,
            settings,
            teacher=teacher,
            checkpoints=checkpoints,
            name=name,
            on_epoch=on_epoch,
            on_incident=tell,
        )
    from reprune.training.job import Job
    from reprune.training.launcher import learn_together

    where = checkpoints.place if checkpoints else None
    job = Job(workload=workload.model_dump(mode="json"), settings=settings, checkpoints=where, name=name)
    return learn_together(
        workload.train.processes, job, workload.model, model, teacher, on_epoch=on_epoch, on_incident=tell
    )


def training_batches(step: Step) -> Callable[[int], Any]:
    """Return the function that gives the shuffled train split for a seed."""
    return lambda seed: step.data.training_batches(batch_size=step.workload.train.batch_size, seed=seed)


def validation_score(step: Step, model: nn.Module) -> float:
    """Return the mean score of a model on the validation split."""
    return float(scores(model, step.data.batches("validation"), step.task).mean())


@torch.no_grad()
def judgement(step: Step, model: nn.Module) -> Judgement:
    """Return the loss and the scores of a model on the validation split, from one pass over it."""
    was_training = model.training
    model.eval()
    losses, found = [], []
    for inputs, targets in step.data.batches("validation"):
        outputs = call(model, inputs)
        losses.append(step.task.loss(outputs, targets))
        found.append(step.task.score(outputs, targets))
    model.train(was_training)
    return Judgement(float(torch.cat(losses).double().mean()), torch.cat(found).double().numpy())


def recovery_rate(step: Step) -> float:
    """Return the peak learning rate of whatever goes on from trained weights."""
    return step.workload.finetune.learning_rate or step.workload.train.learning_rate / 3


def warm_rate(step: Step) -> float:
    """Return the peak learning rate of what goes on from the same model of the cycle before.

    It is a share of the other, as its epochs are: at the whole of it, weights that are nearly right are lost in the
    first epochs, and the few that are left do not find as good ones.
    """
    return step.workload.warm_start * recovery_rate(step)


def recovery_cost(step: Step, dense: nn.Module) -> Cost:
    """Return what counts this workload's recovery in dense trainings."""
    workload = step.workload
    return Cost(
        dense_macs=macs_of(dense, step.data.example()),
        dense_epochs=workload.train.epochs,
        taught=workload.finetune.distillation > 0 or bool(workload.finetune.match),
    )


def aware_epochs(workload: Workload, finetune: int) -> int:
    """Return the epochs of quantization-aware fine-tuning that may follow so many of fine-tuning."""
    asked = workload.quantize
    if asked is None or asked.format.startswith("weights"):
        return 0
    return min(finetune, max(1, finetune // 4)) if asked.epochs is None else asked.epochs


def mean_loss(task: Task) -> Callable[[Any, Any], Tensor]:
    """Return a task's loss averaged over a batch, as saliencies take it."""
    return lambda outputs, targets: task.loss(outputs, targets).mean()


def tell_epochs(step: Step, epochs: int) -> Callable[[Epoch], None]:
    """Return a callback that tells the watcher of each epoch."""

    def tell(epoch: Epoch) -> None:
        score = f"{formatting.score(epoch.validation_score)} on validation"
        step.progress(f"epoch {epoch.epoch} of {epochs} · loss {epoch.loss:.3f} · {score}", epoch.epoch / epochs)

    return tell


def tell_incidents(step: Step) -> Callable[[Incident], None]:
    """Return a callback that warns the watcher of what a training survived."""
    return lambda incident: step.warn(incident.text)
