"""One step of a run: what every step has at hand, what it leaves behind, and how it tells that it failed."""

import json
import logging
import os
import signal
import sys
import threading
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from reprune.config import entry_points
from reprune.config.loading import parse
from reprune.config.workload import Workload
from reprune.errors import Evicted, RepruneError
from reprune.events import VARIABLE, WATCHER, Events, is_asked_to_stop
from reprune.registry.registry import Registry
from reprune.steps import code_archive, compatibility
from reprune.storage.base import Store
from reprune.storage.uri import open_store

if TYPE_CHECKING:
    from torch import nn

    from reprune.data.datasets import Data
    from reprune.data.tasks import Task
    from reprune.storage.checkpoints import Checkpoints

METRICS_FOLDER = "REPRUNE_METRICS_FOLDER"
"""Environment variable with the folder that metrics are written to when there is no Pushgateway."""

GRACE_SECONDS = 20
"""Time that a step has to end in once nobody watches it any more."""


class Step:
    """A context in which one step of a run does its work.

    A step writes its `summary` (a line for people), its `record` (anything JSON can hold, for the steps after it), and,
    where the run has several steps of its name, which `part` of the work it was. No record is left where it is None.

    Entering starts the step's clock, so import what is heavy before. Leaving it writes the step's record to the store
    (``runs/<workload>/<run>/<step>.json``), or tells the watcher why there is none.

    Args:
        name: Name of the step.
        workload: The workload, as JSON.
        store: URI of the store.
        run: Identifier of the run.
    """

    def __init__(self, name: str, *, workload: str, store: str, run: str) -> None:
        self.name = name
        self.run = run
        self.part = ""
        self.summary = ""
        self.record: dict[str, Any] | None = {}
        self.workload_json = workload
        self._store_uri = store
        self._events = Events.from_environment(name)
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        _end_with_run()
        self._events.emit("started", run=self.run)
        try:
            compatibility.check_pipeline()
            compatibility.check_store(self.store)
            entry_points.use_code(self.workload.code)
        except RepruneError as error:
            self._fail(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._finish()
            except RepruneError as late:
                self._fail(late)
        elif isinstance(error, RepruneError):
            self._fail(error)
        elif isinstance(error, Exception):
            message = f"{entry_points.describe(error)}."
            self._events.emit("failed", message=message, remedy="The log has the whole traceback.", exit_code=3)

    @cached_property
    def workload(self) -> Workload:
        """The workload."""
        workload = parse(json.loads(self.workload_json), origin="the pipeline's workload")
        if workload.code and workload.code.startswith(code_archive.PREFIX):
            return workload.model_copy(update={"code": str(code_archive.unpack(workload.code))})
        return workload

    @cached_property
    def store(self) -> Store:
        """The store."""
        return open_store(self._store_uri)

    @cached_property
    def registry(self) -> Registry:
        """The workload's models in the store."""
        return Registry(self.store, self.workload.name)

    @cached_property
    def data(self) -> "Data":
        """The workload's data."""
        from reprune.data.datasets import Data

        return Data(self.workload)

    @cached_property
    def task(self) -> "Task":
        """The workload's task."""
        from reprune.data import tasks

        return tasks.of(self.workload, self.data)

    def load(self, folder: Path, *, quantized: bool = False) -> "nn.Module":
        """Return the model of a bundle of this run, which the workload's own entry point builds.

        Raises:
            InputError: The bundle names another entry point.
        """
        from reprune.pruning import bundle

        return bundle.load(folder, allow=[self.workload.model], quantized=quantized)

    def checkpoints(self, key: str) -> "Checkpoints":
        """The checkpoints of the work that a digest names."""
        from reprune.storage.checkpoints import Checkpoints

        return Checkpoints(self.store, self.workload.name, key)

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Tell the watcher how far the step is.

        Args:
            text: What is happening, in a few words.
            fraction: Share of the step's work that is done, 0 to 1, where that is known.
        """
        self._events.emit("progress", text=text, fraction=fraction)

    def tell(self, text: str) -> None:
        """Tell the watcher of something that is over and worth a line of its own."""
        self._events.emit("told", text=text)

    def warn(self, text: str) -> None:
        """Tell the watcher of something that stops nothing but that a person should know."""
        self._events.emit("warning", text=f"{self.name}: {text}")

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records of the steps of this run that have ended, by step."""
        return read_records(self.store, self.workload.name, self.run)

    def get_evidence(self, name: str) -> bytes:
        """Return a file that a step of this run kept beside its record."""
        return self.store.get(f"{record_prefix(self.workload.name, self.run)}{name}")

    def put_evidence(self, name: str, data: bytes) -> str:
        """Keep a file beside the step's record; returns its key in the store."""
        key = f"{record_prefix(self.workload.name, self.run)}{name}"
        self.store.put(key, data)
        return key

    def _finish(self) -> None:
        seconds = time.perf_counter() - self._started
        if self.record is not None:
            record = {
                "step": self.name,
                "summary": self.summary,
                "seconds": seconds,
                "ended": time.time(),
                **self.record,
            }
            name = f"{self.name}-{self.part}" if self.part else self.name
            self.put_evidence(f"{name}.json", json.dumps(record).encode())
        self._events.emit("finished", summary=self.summary, seconds=time.perf_counter() - self._started)

    def _fail(self, error: RepruneError) -> None:
        self._events.emit(
            "failed",
            message=error.message,
            remedy=error.remedy,
            exit_code=error.exit_code,
            seconds=time.perf_counter() - self._started,
        )
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


def read_records(store: Store, workload: str, run: str) -> dict[str, dict[str, Any]]:
    """Return what the steps of a run recorded, by step, and other evidence that they left as JSON, by its name."""
    keys = (key for key in store.list(record_prefix(workload, run)) if key.endswith(".json"))
    found = {Path(key).stem: store.get_json(key) for key in keys}
    return {name: it for name, it in found.items() if isinstance(it, dict)}


def record_prefix(workload: str, run: str) -> str:
    """Return where in the store a run's records lie."""
    return f"runs/{workload}/{run}/"


def _end_with_run() -> None:
    """On a laptop, end when the run that started this step is gone, or asks for it: nobody would use its result.

    It ends as on a machine that is taken away, so a training keeps its last step. A Ctrl-C, which a terminal sends to
    both, is for the run alone to act on. From within a container, the run's process cannot be seen, only what it asks.
    """
    if VARIABLE not in os.environ:
        return
    watcher = os.environ.get(WATCHER)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while (watcher is None or _is_alive(int(watcher))) and not is_asked_to_stop():
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(Evicted.exit_code)

    threading.Thread(target=watch, daemon=True).start()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
