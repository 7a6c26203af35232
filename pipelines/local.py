"""The pipeline on this machine, through kfp.local and without a server: a process a step, or a container a step."""

import builtins
import contextlib
import logging
import os
import secrets
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kfp import local

from reprune.config.workload import Workload
from reprune.events import VARIABLE, WATCHER, ask_to_stop
from reprune.pipelines import drift_over_log, files, recurring
from reprune.pipelines.containers import Containers
from reprune.steps.context import METRICS_FOLDER

PROCESSES = local.SubprocessRunner(use_venv=False)


class Scratch:
    """The folder of one local run: its log, its events, and what the steps hand each other.

    Args:
        root: Folder of all local runs.
        workload: Name of the workload.
    """

    KEPT = 5

    def __init__(self, root: Path, workload: str) -> None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self.folder = (root / workload / name).resolve()
        self.folder.mkdir(parents=True)
        self.log = self.folder / "log.txt"
        self.events = self.folder / "events.jsonl"
        self.artifacts = self.folder / "artifacts"
        self.metrics = self.folder.parent.parent / "metrics"

    def forget_older(self) -> None:
        """Delete the folders of older runs, but for the last few."""
        import shutil

        for folder in sorted(self.folder.parent.iterdir())[: -self.KEPT]:
            shutil.rmtree(folder, ignore_errors=True)


def run(workload: Workload, scratch: Scratch, *, store: str, trigger: str) -> None:
    """Run the pipeline in this process, each step in one of its own; returns when it has ended, however it did.

    Args:
        workload: The workload.
        scratch: Where the log, the events and the artifacts go.
        store: URI of the store; a folder must be absolute.
        trigger: What started the run.

    Raises:
        InputError: A file that the workload names is missing, or this machine cannot serve one of its targets: told
            now, and not by a step that needs it after hours of training.
    """
    files.check(workload)
    for target in workload.target:
        target.check()
    os.environ.setdefault(METRICS_FOLDER, str(scratch.metrics))
    _watch(scratch)
    _execute(recurring.build(workload, store=store), PROCESSES, scratch, trigger=trigger)


def judge_log(workload: Workload, scratch: Scratch, *, store: str, log: str, shards: int) -> None:
    """Judge a log of predictions by the pipeline for large ones, each step in a process of its own.

    Args:
        workload: The workload, whose champion the log is of.
        scratch: Where the pipeline's log, the events and the artifacts go.
        store: URI of the store; a folder must be absolute.
        log: URI of the log; a folder must be absolute.
        shards: How many steps read it; two at a time.
    """
    _watch(scratch)
    _execute(drift_over_log.build(workload, store=store, log=log, shards=shards), PROCESSES, scratch)


def run_in_containers(
    workload: Workload, scratch: Scratch, *, store: str, trigger: str, image: str | None = None
) -> None:
    """Run the pipeline with each step in a container; returns when it has ended, however it did.

    Args:
        workload: The workload.
        scratch: Where the log, the events and the artifacts go.
        store: URI of the store; a folder must be absolute.
        trigger: What started the run.
        image: Container image of every step; by default the ones that the components name.

    Raises:
        InputError: No Docker engine answers, an image is missing, or it holds another version of reprune.
        StepError: The engine could not run a step.
    """
    metrics = Path(os.environ.get(METRICS_FOLDER, scratch.metrics)).resolve()
    scratch.artifacts.mkdir()  # the engine would make it root's
    _watch(scratch)
    with Containers(workload, store=store, folder=scratch.folder, writable=(metrics,)) as containers:
        pipeline = recurring.build(
            workload, store=store, image=image, environment=containers.environment({METRICS_FOLDER: str(metrics)})
        )
        containers.check(recurring.images(pipeline))
        _execute(pipeline, containers.runner(), scratch, trigger=trigger)


def _watch(scratch: Scratch) -> None:
    """Let the steps tell this process how far they are, and end with it or when it asks them to."""
    os.environ[VARIABLE] = str(scratch.events)
    os.environ[WATCHER] = str(os.getpid())


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Give this process its print and its log back, which kfp's runner replaces.

    Of two steps side by side the second takes what the first has put there for the original, and puts that back: an
    indented print, and a log that writes to a file that is closed by then.
    """
    printing, root = builtins.print, logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        builtins.print, root.handlers[:] = printing, handlers
        root.setLevel(level)


def _execute(pipeline: Any, runner: Any, scratch: Scratch, **arguments: str) -> None:
    with (
        scratch.log.open("w", buffering=1) as log,
        contextlib.redirect_stdout(log),
        _own_output(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        local.init(runner=runner, pipeline_root=str(scratch.artifacts), raise_on_error=False)
        try:
            pipeline(**arguments)
        except BaseException:  # Ctrl-C, say, of which the step under way hears from here alone
            ask_to_stop()
            raise
