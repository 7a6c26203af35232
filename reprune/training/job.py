"""A training as a folder of files: all that processes need which share nothing but a disk and a store."""

from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import BaseModel
from torch import nn

from reprune.config import entry_points
from reprune.config.loading import parse
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.events import Events
from reprune.pruning import bundle
from reprune.storage.checkpoints import Checkpoints
from reprune.training.trainer import Settings
from reprune.training.training_history import History
from reprune.training.workload_training import learn

TOLD = "told.jsonl"
"""Epochs and incidents, as they happen."""

_JOB, _MODEL, _TEACHER, _WEIGHTS, _HISTORY = "job.json", "model", "teacher", "weights.safetensors", "history.json"


class Job(BaseModel):
    """A training, but for its models.

    Attributes:
        workload: The workload, as JSON.
        settings: How to train.
        checkpoints: Place of the checkpoints, if there are any.
        name: Name of this training among the checkpoints.
    """

    workload: dict[str, Any]
    settings: Settings
    checkpoints: dict[str, str] | None
    name: str

    def write(self, folder: Path) -> None:
        """Write the job; what lies beside it stays."""
        (folder / _JOB).write_text(self.model_dump_json())


def write_models(folder: Path, factory: str, model: nn.Module, teacher: nn.Module | None) -> None:
    """Write the models of a job as bundles."""
    bundle.save(model, folder / _MODEL, factory=factory)
    if teacher is not None:
        bundle.save(teacher, folder / _TEACHER, factory=factory)


def read_result(folder: Path, model: nn.Module) -> History:
    """Fill a model with the weights that a job ended in; returns what happened."""
    bundle.load_weights(model, folder / _WEIGHTS)
    model.eval()
    return History.model_validate_json((folder / _HISTORY).read_text())


def do(folder: Path, *, first: bool) -> None:
    """Do the job of a folder, in one of its processes.

    Args:
        folder: The job.
        first: Whether this process is the one that tells, and writes the result.
    """
    job = Job.model_validate_json((folder / _JOB).read_text())
    workload = parse(job.workload, origin="the training's workload")
    entry_points.use_code(workload.code)
    data, events = Data(workload), Events(job.name, folder / TOLD)
    model = bundle.load(folder / _MODEL, allow=[workload.model])
    history = learn(
        workload,
        data,
        tasks.of(workload, data),
        model,
        job.settings,
        teacher=bundle.load(folder / _TEACHER, allow=[workload.model]) if (folder / _TEACHER).exists() else None,
        checkpoints=Checkpoints.at(job.checkpoints) if job.checkpoints else None,
        name=job.name,
        on_epoch=(lambda epoch: events.emit("epoch", **epoch.model_dump())) if first else None,
        on_incident=(lambda incident: events.emit("incident", **incident.model_dump())) if first else None,
    )
    if first:
        safetensors.torch.save_model(model, str(folder / _WEIGHTS))
        (folder / _HISTORY).write_text(history.model_dump_json())
