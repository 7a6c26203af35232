"""Recover what pruning lost, learning from the dense model as well as from the labels."""

from pathlib import Path

from reprune import bundle, digest
from reprune.report import pages
from reprune.step import Step
from reprune.steps import learning
from reprune.steps.learning import learn, tell_epochs, validation_score


def run(step: Step, *, dense: Path, pruned: Path, candidate: Path, report: Path) -> None:
    """Write the recovered model as a bundle: the candidate."""
    workload, settings = step.workload, step.workload.finetune
    parent = bundle.Description.read(pruned)
    model = bundle.load(pruned)
    before = validation_score(step, model)

    rate = settings.learning_rate or workload.train.learning_rate / 3
    history = learn(
        step,
        model,
        learning.settings(step, epochs=settings.epochs, learning_rate=rate, seed=workload.seed + 1),
        teacher=bundle.load(dense),
        checkpoints=step.checkpoints(digest.of_json([parent.files, settings.model_dump(), workload.train.decisive()])),
        name="finetune",
        on_epoch=tell_epochs(step, settings.epochs),
    )
    after = validation_score(step, model)
    lineage = parent.lineage | {"finetune": history.model_dump()["epochs"], "parent": parent.files}
    bundle.save(model, candidate, factory=parent.model, recipe=bundle.recipe_of(pruned), **lineage)
    report.write_text(pages.training("Fine-tuning", history, step.task.metric))
    told = history.model_dump()
    step.record = {
        "history": told["epochs"],
        "incidents": told["incidents"],
        "score_before": before,
        "score_after": after,
    }
    step.summary = f"{before:.1%} → {after:.1%} on validation after {settings.epochs} epochs"
