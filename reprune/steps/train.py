"""Train the dense model, or evaluate the one that the workload brings."""

from pathlib import Path

from torch import nn

from reprune import bundle, digest
from reprune.dense import keep, load_weights
from reprune.lineage import lineage
from reprune.report import pages
from reprune.step import Step
from reprune.steps.learning import learn, settings, tell_epochs
from reprune.training.evaluate import scores
from reprune.training.fit import seed_everything
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
        history = _train(step, model, key=digest.of_json([origin, workload.train.decisive(), "dense"]))
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
    return learn(
        step,
        model,
        settings(step, epochs=train.epochs, learning_rate=train.learning_rate, seed=step.workload.seed),
        checkpoints=step.checkpoints(key),
        on_epoch=tell_epochs(step, train.epochs),
    )
