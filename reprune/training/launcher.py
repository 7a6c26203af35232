"""A training by several processes of this machine, which torch's own elastic launcher starts and looks after."""

import contextlib
import json
import logging
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from reprune import errors
from reprune.errors import Evicted, RepruneError, StepError
from reprune.events import Reader
from reprune.training import job
from reprune.training.gradient_accumulation import MemoryExhausted, halved
from reprune.training.job import Job
from reprune.training.rank_worker import ERRORS
from reprune.training.training_history import Epoch, History, Incident

POLL_SECONDS = 0.2

log = logging.getLogger(__name__)


def learn_together(
    processes: int,
    task: Job,
    factory: str,
    model: nn.Module,
    teacher: nn.Module | None,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_incident: Callable[[Incident], None] | None = None,
) -> History:
    """Train a model in place by several processes, each on its share of every batch.

    Args:
        processes: How many.
        task: The training.
        factory: Entry point that builds the dense model.
        model: Where to start; filled with where it ended.
        teacher: The dense model, if it is to be learnt from.
        on_epoch: Called after each epoch, in a thread.
        on_incident: Called when the training survived something, in a thread.

    Raises:
        RepruneError: What a process raised.
        Evicted: This process got SIGTERM; the others have kept their last step.
    """
    incidents: list[Incident] = []
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        job.write_models(folder, factory, model, teacher)
        with _told(folder / job.TOLD, on_epoch, on_incident):
            while True:
                task.write(folder)
                try:
                    _launch(processes, folder)
                    break
                except MemoryExhausted as error:
                    micro_batch, text = halved(error, least=1)
                    task = task.model_copy(update={"settings": replace(task.settings, micro_batch=micro_batch)})
                    incidents.append(Incident(kind="out-of-memory", epoch=0, text=text))
                    if on_incident:
                        on_incident(incidents[-1])
        history = job.read_result(folder, model)
    return history.model_copy(update={"incidents": incidents + history.incidents})


def _launch(processes: int, folder: Path) -> None:
    """Run the processes to their end; raises what went wrong in the first that failed."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT",
    )
    for left in folder.glob(ERRORS):
        left.unlink()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        elastic_launch(config, sys.executable)("-P", "-m", "reprune.training.rank_worker", str(folder))
    except ChildFailedError as error:
        raise _first_error(folder) or StepError(
            f"A process of the training ended early: {error.get_first_failure()[1].message}", "See the log."
        ) from None
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        stopped = Evicted("Stopped by SIGTERM.", "Run the same again: it goes on from the last checkpoint.")
        raise _first_error(folder) or stopped from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _first_error(folder: Path) -> Exception | None:
    """Return the error of the process that failed first; the others fail because it is gone."""
    left = sorted(folder.glob(ERRORS), key=lambda path: path.stat().st_mtime_ns)
    found = [json.loads(path.read_text()) for path in left]
    for told in sorted(found, key=lambda it: not it["kind"]):  # those raised on purpose come first
        if told["kind"] == MemoryExhausted.__name__:
            return MemoryExhausted(told["tried"], told["message"])
        kind = getattr(errors, told["kind"], StepError)
        assert issubclass(kind, RepruneError)
        return kind(told["message"], told["remedy"])
    return None


@contextlib.contextmanager
def _told(
    path: Path, on_epoch: Callable[[Epoch], None] | None, on_incident: Callable[[Incident], None] | None
) -> Iterator[None]:
    """Pass on what the first process tells, while entered."""
    over, reader = threading.Event(), Reader(path)

    def take(event: dict[str, Any]) -> None:
        if event["event"] == "epoch" and on_epoch:
            on_epoch(Epoch.model_validate(event))
        elif event["event"] == "incident" and on_incident:
            on_incident(Incident.model_validate(event))

    def follow() -> None:
        while True:
            last = over.is_set()
            for event in reader.new():
                take(event)
            if last:
                return
            over.wait(POLL_SECONDS)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
