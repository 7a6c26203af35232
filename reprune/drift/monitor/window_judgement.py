"""Judging one window: done in a process of its own, since whoever writes to the log decides what is in it."""

from pathlib import Path
from tempfile import TemporaryDirectory

from reprune.config.entry_points import describe
from reprune.config.workload import Workload
from reprune.data import signals
from reprune.drift import detect
from reprune.drift.decision import decide
from reprune.drift.drift_report import DriftReport
from reprune.drift.monitor import delayed_labels, prediction_log, window_history
from reprune.drift.monitor.monitor_state import Window
from reprune.drift.monitor.worker_messages import Judged, Order, late
from reprune.drift.reference import Reference
from reprune.errors import InputError, RepruneError
from reprune.inference.champion import ONNX
from reprune.metrics import DRIFT_TESTS, DriftMetrics
from reprune.storage.base import Store

REFERENCE = "reference.safetensors"
MEGABYTE = 10**6


class Judge:
    """Judges windows of one workload.

    Args:
        workload: The workload.
        store: Where the log is.

    Raises:
        InputError: There is no such task, or it cannot be used here.
    """

    def __init__(self, workload: Workload, store: Store) -> None:
        self._workload, self._store = workload, store
        self._signals = signals.find(workload.task)
        self._most_bytes = workload.monitor.window_file_megabytes * MEGABYTE
        self._inputs: dict[Path, dict[str, list[int | None]]] = {}

    def judge(self, order: Order) -> Judged:
        """Judge a window.

        Raises:
            MemoryError: There is not enough memory for it.
            NotFoundError: It was deleted.
            StoreError: The store cannot be read or written.
            IntegrityError: The champion is damaged.
        """
        found = Window(key=order.key, modified=order.modified, verdict="broken", summary="", at=order.at)
        with TemporaryDirectory() as folder:
            path = Path(folder) / Path(order.key).name
            try:
                self._store.download(order.key, path)
                return self._decide(path, order, found)
            except InputError as error:
                _raise_if_short_of_memory(error)
                found.summary = error.message.replace(f"{folder}/", "")
            except (RepruneError, MemoryError):
                raise
            except Exception as error:  # a task of the user's own may raise anything
                _raise_if_short_of_memory(error)
                found.summary = f"judging it failed: {describe(error)}"
        return Judged(window=found)

    def _decide(self, path: Path, order: Order, found: Window) -> Judged:
        policy, inputs = self._workload.drift, self._inputs_of(order.folder)
        if prediction_log.is_labels(order.key):
            policy = late(policy)
            window, found.delay = delayed_labels.read(
                self._store, order.key, path, inputs, unread=order.unread, most_bytes=self._most_bytes
            )
        else:
            window = prediction_log.read(path, inputs, most_bytes=self._most_bytes)
        found.examples = window.rows
        if self._workload.monitor.online and not prediction_log.is_labels(order.key) and len(window):
            return self._with_those_before(window, order, found)
        seed = self._workload.seed
        decision = decide(order.champion, order.folder, window, self._signals, policy, seed=seed)
        found.verdict = decision.report.verdict if decision.report else "inconclusive"
        found.summary = decision.report.summary if decision.report else decision.reason
        return _judged(found, decision.report)

    def _with_those_before(self, window: prediction_log.Window, order: Order, found: Window) -> Judged:
        """Judge a window alone, and together with those before it."""
        reference, seed = Reference.load(order.folder / REFERENCE), self._workload.seed
        sample = detect.observe(reference, window, order.folder / ONNX, self._signals, seed=seed)
        added = window_history.add(
            self._store,
            self._workload.name,
            order.together,
            *detect.summaries(reference.sample, sample, name=found.key),
            self._workload.drift,
            name=f"{order.champion} {found.key} {found.modified}",
            seed=seed,
        )
        report, found.together = added.look.report, added.look.windows
        found.verdict = report.verdict
        found.summary = report.summary + (f", of {found.together} windows together" if found.together > 1 else "")
        return _judged(found, report, added.kept)

    def _inputs_of(self, folder: Path) -> dict[str, list[int | None]]:
        if folder not in self._inputs:
            self._inputs[folder] = prediction_log.inputs_of(folder / ONNX)
        return self._inputs[folder]


def _judged(window: Window, report: DriftReport | None, kept: tuple[str, ...] | None = None) -> Judged:
    if report is None:
        return Judged(window=window, kept=kept)
    tests = sorted(report.tests, key=lambda test: test.adjusted_p_value)[:DRIFT_TESTS]
    metrics = tuple(DriftMetrics.model_validate(test.model_dump()) for test in tests)
    return Judged(window=window, tests=metrics, quality=report.quality, kept=kept)


def _raise_if_short_of_memory(error: BaseException) -> None:
    """Raise MemoryError if an error comes of too little memory; libraries report that in ways of their own."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if isinstance(cause, MemoryError) or "bad_alloc" in text or "failed to allocate memory" in text:
            raise MemoryError(str(cause)) from error
        cause = cause.__cause__ or cause.__context__
