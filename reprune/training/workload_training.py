"""What a workload's model learns: from its data and its task, and from the dense model where there is one."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from reprune.config.workload import Workload
from reprune.data.datasets import Data
from reprune.data.tasks import Task
from reprune.storage.checkpoints import Checkpoints
from reprune.training.distillation import Distillation
from reprune.training.evaluation import scores
from reprune.training.similarity_distillation import Relations
from reprune.training.trainer import Settings, fit
from reprune.training.training_history import Epoch, History, Incident


def learn(
    workload: Workload,
    data: Data,
    task: Task,
    model: nn.Module,
    settings: Settings,
    *,
    teacher: nn.Module | None = None,
    checkpoints: Checkpoints | None = None,
    name: str = "fit",
    on_epoch: Callable[[Epoch], None] | None = None,
    on_incident: Callable[[Incident], None] | None = None,
) -> History:
    """Train a model in place on its workload, in this process.

    Args:
        workload: Says how batches are made, and how the teacher is listened to.
        data: Its data.
        task: Its task.
        model: Trained in place.
        settings: How to train.
        teacher: The dense model, if it is to be learnt from.
        checkpoints: Where finished epochs are kept, if anywhere.
        name: Name of this training among the checkpoints.
        on_epoch: Called after each epoch.
        on_incident: Called when the training survived something.
    """
    return fit(
        model,
        lambda seed: data.training_batches(batch_size=workload.train.batch_size, seed=seed),
        _loss(workload, task, model, teacher),
        settings,
        validate=lambda trained: float(scores(trained, data.batches("validation"), task).mean()),
        checkpoints=checkpoints,
        name=name,
        on_epoch=on_epoch,
        on_incident=on_incident,
    )


def _loss(
    workload: Workload, task: Task, model: nn.Module, teacher: nn.Module | None
) -> Callable[[Any, Any, Any], Tensor]:
    if teacher is None:
        return lambda outputs, targets, _: task.loss(outputs, targets)
    how = workload.finetune
    relations = Relations(model, teacher, how.match, weight=how.match_weight) if how.match else None
    return Distillation(task, teacher, weight=how.distillation, temperature=how.temperature, relations=relations)
