"""The ``prune`` step."""

from kfp import dsl


@dsl.component(base_image="reprune-train:0.1.0", install_kfp_package=False)
def prune(
    pruned: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    dense: dsl.Input[dsl.Model],
    sensitivity: dsl.Input[dsl.Artifact],
    profiles: list[str],
    workload: str,
    store: str,
    run: str,
) -> None:
    """Cut and recover in rounds until the measured latency is within the budget.

    Where the champion's recipe still serves, it is replayed once, and nothing is searched for. Else plans one width
    for each group from the profiles and the sensitivities, measures the whole pruned graph, corrects the plan, then
    goes there in rounds. Each epoch of recovery is a checkpoint in the store.

    Args:
        pruned: The pruned model, as a bundle with its recipe.
        report: The plan, and each round.
        dense: The dense model.
        sensitivity: What `analyze_sensitivity` found; it is measured here where that was left out and is needed.
        profiles: What `profile_hardware` returned, one for each target.
        workload: The workload, as JSON.
        store: URI of the store: a folder or ``s3://bucket/prefix``.
        run: Identifier of the run, under which the step leaves its record.
    """
    from pathlib import Path

    from reprune.steps import prune as work
    from reprune.steps.context import Step

    with Step("prune", workload=workload, store=store, run=run) as step:
        work.run(
            step,
            dense=Path(dense.path),
            sensitivity=Path(sensitivity.path),
            profiles=profiles,
            pruned=Path(pruned.path),
            report=Path(report.path),
        )
