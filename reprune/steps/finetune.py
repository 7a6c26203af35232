"""Recover what pruning lost, learning from the dense model as well as from the labels."""

from pathlib import Path

from torch import nn

from reprune import formatting, hashing
from reprune.pruning import bundle
from reprune.pruning.iterative.cost import macs_of
from reprune.report import pages
from reprune.steps import qat, recovery
from reprune.steps.context import Step
from reprune.steps.recovery import learn, tell_epochs, validation_score
from reprune.steps.warm_start import shortened
from reprune.training.temperature_scaling import Scaling, scale


def run(step: Step, *, dense: Path, pruned: Path, candidate: Path, report: Path) -> None:
    """Write the recovered model as a bundle: the candidate."""
    workload, settings = step.workload, step.workload.finetune
    parent = bundle.Description.read(pruned)
    model = step.load(pruned)
    before = validation_score(step, model)
    replayed = parent.lineage.get("replayed")
    epochs = shortened(settings.epochs, workload.warm_start) if replayed else settings.epochs
    rate = recovery.warm_rate(step) if parent.lineage.get("replayed_weights") else recovery.recovery_rate(step)
    teacher = step.load(dense)
    price, macs = recovery.recovery_cost(step, teacher), macs_of(model, step.data.example())
    decides = [parent.files, epochs, rate, settings.model_dump(), workload.train.decisive()]
    history = learn(
        step,
        model,
        recovery.settings(step, epochs=epochs, learning_rate=rate, seed=workload.seed + 1),
        teacher=teacher,
        checkpoints=step.checkpoints(hashing.of_json(decides)),
        name="finetune",
        on_epoch=tell_epochs(step, epochs),
    )
    costs = dict(parent.lineage.get("cost") or {}) | {"finetune": price.of(macs, epochs)}
    more = recovery.aware_epochs(workload, settings.epochs)
    more = shortened(more, workload.warm_start) if replayed else more
    aware, quantized = qat.fine_tune(step, model, teacher, epochs=more, parent=decides)
    if aware:
        costs[qat.NAME] = price.of(macs, more)
    scaling = _scaled(step, model) if settings.calibrate else None
    if quantized and settings.calibrate:
        _scaled(step, quantized)
    after = validation_score(step, model)
    lineage = parent.lineage | {"finetune": history.model_dump()["epochs"], "parent": parent.files, "cost": costs}
    bundle.save(
        model,
        candidate,
        factory=workload.model,
        recipe=bundle.recipe_of(pruned),
        quantized=quantized,
        inputs=step.data.example(),
        **lineage,
    )
    report.write_text(pages.training("Fine-tuning", history, step.task.metric, aware.statement if aware else ""))
    told = history.model_dump()
    step.record = {
        "history": told["epochs"],
        "incidents": told["incidents"],
        "score_before": before,
        "score_after": after,
        "cost": costs,
        "quantization_aware": aware.model_dump(mode="json") if aware else None,
        "scaling": scaling.model_dump() if scaling else None,
    }
    step.summary = (
        f"{formatting.score(before)} → {formatting.score(after)} on validation after {epochs} epochs; "
        f"this cycle's training cost {sum(costs.values()):.2f} of a dense one"
    )
    if aware:
        step.summary += f"; {aware.statement}"
    if scaling and scaling.temperature:
        step.summary += f", temperature {scaling.temperature:.2f}"


def _scaled(step: Step, model: nn.Module) -> Scaling:
    """Scale the logits by validation, and show on test what that does."""
    found = scale(model, list(step.data.batches("validation")), list(step.data.batches("test")))
    if found.temperature is None:
        step.warn("no temperature was fitted: the layer called last cannot take it in (tied weights, or a softmax)")
    return found
