"""A workload's pipeline on a server: published, started, scheduled. Saying the same thing twice does it once."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from reprune.config.workload import Workload
from reprune.errors import ConflictError, InputError
from reprune.pipelines.compiling import compile_pipeline
from reprune.pipelines.server import Run, Schedule, Server, name_of
from reprune.steps.cron import Cron

NEW = "(new)"
"""Stands for the identifier of what a dry run only would create."""


@dataclass(frozen=True)
class Published:
    """A workload's pipeline on a server.

    Attributes:
        pipeline_id: Identifier of the pipeline.
        version_id: Identifier of the version that was published.
        version: Name of that version.
        experiment_id: Identifier of the experiment that holds its runs.
    """

    pipeline_id: str
    version_id: str
    version: str
    experiment_id: str


def publish(server: Server, workload: Workload, *, store: str, image: str | None = None) -> Published:
    """Bring the pipeline of a workload to the server, unless this very version is there.

    Raises:
        InputError: The store is a folder.
    """
    check_store(store)
    name = name_of(workload.name)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        version = compile_pipeline(workload, file, store=store, image=image)
        pipeline_id = server.pipeline(name)
        there = server.versions(pipeline_id) if pipeline_id else {}
        if pipeline_id is None:
            pipeline_id = server.create_pipeline(name, f"Keeps {workload.name} pruned.") or NEW
        version_id = there.get(version)
        if version_id is None:
            version_id = server.upload(file, pipeline_id=pipeline_id, name=version) or NEW
    experiment_id = server.experiment(name) or server.create_experiment(name) or NEW
    return Published(pipeline_id, version_id, version, experiment_id)


def check_store(store: str) -> None:
    """Refuse a store that is a folder, which the steps of a cluster do not share.

    Raises:
        InputError: It is one.
    """
    if not store.startswith("s3://"):
        raise InputError(
            f"--store: {store!r} is a folder, which the steps of a cluster do not share.", "Use s3://bucket/prefix."
        )


def submit(server: Server, workload: Workload, published: Published, *, trigger: str, beside: bool = False) -> str:
    """Start a run, unless one of the same version is in flight; returns its identifier.

    Args:
        server: The server.
        workload: The workload.
        published: What is to run.
        trigger: What starts the run.
        beside: Start it whatever else is in flight.

    Raises:
        ConflictError: A run of another version is in flight.
    """
    if not beside:
        for run in runs(server, workload.name):
            if run.in_flight and run.version_id == published.version_id:
                return run.id
            if run.in_flight:
                raise ConflictError(
                    f"A run of {workload.name} is in flight: {run.name} ({run.id}), {run.state.lower()}.",
                    "Wait for its end (reprune runs), or add --beside.",
                )
    started = server.start(
        f"{workload.name} {trigger}",
        of=(published.pipeline_id, published.version_id),
        experiment_id=published.experiment_id,
        parameters={"trigger": trigger},
        service_account=workload.cluster.service_account,
    )
    return started or NEW


def runs(server: Server, workload: str) -> list[Run]:
    """Return the runs of a workload, newest first."""
    experiment_id = server.experiment(name_of(workload))
    return list(server.runs(experiment_id)) if experiment_id else []


def schedule(server: Server, workload: Workload, published: Published, cron: Cron, *, replace: bool = False) -> bool:
    """Start the newest version of the pipeline again and again.

    The server cannot change a schedule, and deleting one ends its runs. So the new one is made first; then the old one
    is disabled, and deleted once it has no run in flight.

    Args:
        server: The server.
        workload: The workload.
        published: Its pipeline.
        cron: When.
        replace: Take the place of another schedule of this workload.

    Returns:
        Whether anything was changed; not if it is scheduled so already.

    Raises:
        ConflictError: It is scheduled otherwise.
    """
    account = workload.cluster.service_account
    enabled = [it for it in server.schedules(published.pipeline_id) if it.enabled]
    same = [it for it in enabled if _is(it, cron, account)]
    others = [it for it in enabled if it not in same[:1]]
    if others and not replace:
        raise ConflictError(
            f"{workload.name} is scheduled already: {', '.join(repr(it.cron) for it in others)} (UTC).",
            "Add --replace; a run that is in flight goes on.",
        )
    if not same:
        server.create_schedule(
            name_of(workload.name),
            cron.text,
            pipeline_id=published.pipeline_id,
            experiment_id=published.experiment_id,
            service_account=account,
        )
    for it in others:
        server.disable(it)
    sweep(server, workload.name, published.pipeline_id)
    return bool(others) or not same


def unschedule(server: Server, workload: str) -> list[Schedule]:
    """Let no schedule of a workload start another run; returns those that did."""
    pipeline_id = server.pipeline(name_of(workload))
    if pipeline_id is None:
        return []
    enabled = [it for it in server.schedules(pipeline_id) if it.enabled]
    for it in enabled:
        server.disable(it)
    sweep(server, workload, pipeline_id)
    return enabled


def sweep(server: Server, workload: str, pipeline_id: str) -> None:
    """Delete the disabled schedules of a workload that have no run in flight; the others wait for the next time."""
    disabled = [it for it in server.schedules(pipeline_id) if not it.enabled]
    if disabled:
        busy = {run.schedule_id for run in runs(server, workload) if run.in_flight}
        for it in disabled:
            if it.id not in busy:
                server.delete(it)


def _is(schedule: Schedule, cron: Cron, account: str | None) -> bool:
    """Return whether a schedule is what `schedule` would make."""
    return (
        schedule.cron == cron.text
        and not schedule.version_id
        and schedule.no_catchup
        and schedule.max_concurrency == 1
        and not schedule.parameters
        and (account is None or schedule.service_account == account)
    )
