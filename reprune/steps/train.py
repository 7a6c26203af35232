"""Train the dense model, or evaluate the one that the workload brings."""

import os
from pathlib import Path
from typing import Any

from torch import nn

from reprune import formatting, hashing
from reprune.data.validation.result import Validation
from reprune.planning.dense_model import keep, load_weights, previous
from reprune.pruning import bundle
from reprune.report import pages
from reprune.steps import kubeflow_trainjob
from reprune.steps.context import Step
from reprune.steps.lineage import lineage
from reprune.steps.recovery import learn, settings, tell_epochs, warm_rate
from reprune.steps.warm_start import shortened
from reprune.training.evaluation import scores
from reprune.training.trainer import seed_everything
from reprune.training.training_history import History


def run(step: Step, *, validation: Path, dense: Path, report: Path) -> None:
    """Write the dense model as a bundle, with its scores in the step's record."""
    validated = Validation.model_validate_json(validation.read_text())
    workload = step.workload
    seed_everything(workload.seed)
    model = bundle.build(workload.model, key="model")
    origin = lineage(workload, validated.data_digest)
    if workload.weights:
        step.progress(f"loading {workload.weights}")
        load_weights(model, workload.weights)
        history, how, cost = History(), "as given", 0.0
    else:
        model, history, how, cost = _learnt(step, model, origin)
    step.progress("evaluating")
    accuracy = float(scores(model, step.data.batches("test"), step.task).mean())
    made = origin | {"train": workload.train.decisive(), "cost": {"train": cost}}
    made |= {"history": history.model_dump()["epochs"]}
    bundle.save(model, dense, factory=workload.model, inputs=step.data.example(), **made)
    if not workload.weights:
        keep(step.store, workload.name, dense)
    report.write_text(pages.training("Dense model", history, step.task.metric))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    step.record = {
        "accuracy": accuracy,
        "parameters": parameters,
        "history": history.model_dump()["epochs"],
        "incidents": history.model_dump()["incidents"],
        "lineage": origin,
    }
    step.summary = f"{formatting.score(accuracy)} {step.task.metric} on test {how}, {parameters:,} parameters"


def _learnt(step: Step, model: nn.Module, origin: dict[str, Any]) -> tuple[nn.Module, History, str, float]:
    """Return the dense model, its history, how it came about, and what it cost in dense trainings.

    Where the run before learnt from the same data, by the same code, its model is the one that training would make; on
    other data, its weights are where training begins, for fewer epochs and at a lower rate.
    """
    workload, train = step.workload, step.workload.train
    former = previous(workload, step.store) if workload.warm_start else None
    if former is None:
        history = _train(step, model, origin, epochs=train.epochs, learning_rate=train.learning_rate)
        return model, history, f"after {train.epochs} epochs", 1.0
    kept, description = former
    lineage = description.lineage
    if {**origin, "train": train.decisive()} == {key: lineage.get(key) for key in (*origin, "train")}:
        return kept, History(epochs=lineage["history"]), "as the run before trained it on the same data", 0.0
    epochs = shortened(train.epochs, workload.warm_start)
    start = description.files[bundle.WEIGHTS]
    history = _train(step, kept, origin, epochs=epochs, learning_rate=warm_rate(step), start=start)
    return kept, history, f"after {epochs} epochs from the weights of the run before", epochs / train.epochs


def _train(
    step: Step, model: nn.Module, origin: dict[str, Any], *, epochs: int, learning_rate: float, start: str = ""
) -> History:
    key = hashing.of_json([origin, step.workload.train.decisive(), start, epochs, learning_rate, "dense"])
    if os.environ.get(kubeflow_trainjob.IMAGE):
        training = kubeflow_trainjob.Training(key=key, epochs=epochs, learning_rate=learning_rate, warm=bool(start))
        kubeflow_trainjob.train_elsewhere(step, training)  # what follows finds nothing left to learn
    return learn(
        step,
        model,
        settings(step, epochs=epochs, learning_rate=learning_rate, seed=step.workload.seed),
        checkpoints=step.checkpoints(key),
        on_epoch=tell_epochs(step, epochs),
    )
