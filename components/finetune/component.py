"""The ``finetune`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def finetune(
    candidate: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    dense: dsl.Input[dsl.Model],
    pruned: dsl.Input[dsl.Model],
    workload: str,
    store: str,
    run: str,
) -> None:
    """Recover what pruning lost, learning from the dense model as well as from the labels.

    Args:
        candidate: The candidate for promotion, as a bundle.
        report: Loss and accuracy by epoch.
        dense: The dense model, which teaches.
        pruned: The pruned model.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
    """
    from pathlib import Path

    from reprune.steps import finetune as work
    from reprune.steps.context import Step

    with Step("finetune", workload=workload, store=store, run=run) as step:
        work.run(
            step,
            dense=Path(dense.path),
            pruned=Path(pruned.path),
            candidate=Path(candidate.path),
            report=Path(report.path),
        )
