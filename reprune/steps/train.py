"""Train the dense model, or evaluate the one that the workload brings."""

from pathlib import Path

from torch import nn

from reprune import bundle, digest
from reprune.dense import keep, load_weights
from reprune.lineage import lineage
from reprune.report import pages
from reprune.step import Step
from reprune.steps.learning import settings, tell_epochs, tell_incidents, training_batches, validation_score
from reprune.training.evaluate import scores
from reprune.training.fit import fit, seed_everything
from reprune.training.history import History
from reprune.validation.result import Validation


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
        history = History()
    else:
        history = _train(step, model, key=digest.of_json([origin, workload.train.model_dump(), "dense"]))
    step.progress("evaluating")
    accuracy = float(scores(model, step.data.batches("test"), step.task).mean())
    bundle.save(model, dense, factory=workload.model, history=history.model_dump()["epochs"], **origin)
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
    how = "as given" if workload.weights else f"after {len(history.epochs)} epochs"
    step.summary = f"{accuracy:.1%} {step.task.metric} on test {how}, {parameters:,} parameters"


def _train(step: Step, model: nn.Module, *, key: str) -> History:
    train = step.workload.train
    return fit(
        model,
        training_batches(step),
        lambda outputs, targets, _: step.task.loss(outputs, targets),
        settings(step, epochs=train.epochs, learning_rate=train.learning_rate, seed=step.workload.seed),
        validate=lambda trained: validation_score(step, trained),
        checkpoints=step.checkpoints(key),
        on_epoch=tell_epochs(step, train.epochs),
        on_incident=tell_incidents(step),
    )
