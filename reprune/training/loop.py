"""The training loop. Everything random is a function of the seed and the epoch, so that resuming changes nothing."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from torch import nn

from reprune.data.datasets import Batch, count, tensors
from reprune.errors import InputError, StepError
from reprune.storage.checkpoints import Checkpoints
from reprune.training import rng
from reprune.training.divergence import ROLLBACKS, Diverged
from reprune.training.gradient_accumulation import Loss, Stepper
from reprune.training.optimizer import schedule, set_rate
from reprune.training.preemption import Evicted, Interruption
from reprune.training.process_group import Group
from reprune.training.training_history import Epoch, History, Incident
from reprune.training.training_state import Position, Snapshot, State

if TYPE_CHECKING:
    from reprune.training.trainer import Settings

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 600.0
"""Time after which an epoch under way is kept too; each finished epoch is, however short."""


class Loop:
    """Runs epochs; keeps and tells each; goes back when they diverge; stops cleanly on SIGTERM.

    Args:
        state: What is trained, and how far it is.
        batches: Returns the shuffled batches for a seed.
        loss: Gives the loss of each example.
        settings: How to train.
        validate: Returns the mean validation score of a model.
        checkpoints: Where the state is kept, if anywhere.
        name: Name of this training among the checkpoints.
        group: The processes that share each batch.
        on_epoch: Called after each epoch.
        on_incident: Called when the training survived something.
    """

    def __init__(
        self,
        state: State,
        batches: Callable[[int], Iterable[Batch]],
        loss: Loss,
        settings: "Settings",
        *,
        validate: Callable[[nn.Module], float],
        checkpoints: Checkpoints | None,
        name: str,
        group: Group,
        on_epoch: Callable[[Epoch], None] | None,
        on_incident: Callable[[Incident], None] | None,
    ) -> None:
        self._state = state
        self._batches = batches
        self._settings = settings
        self._validate = validate
        self._checkpoints = checkpoints
        self._name = name
        self._group = group
        self._on_epoch = on_epoch
        self._on_incident = on_incident
        self._interruption = Interruption()
        self._kept_at = time.monotonic()
        self._start = state.snapshot()
        self._last = self._start
        self._steps = 0
        self._stepper = Stepper(
            group.wrap(state.model),
            loss,
            state.optimizer,
            clip_norm=settings.clip_norm,
            micro_batch=settings.micro_batch,
            precision=settings.precision,
            group=group,
            on_halved=self._tell_halved,
        )

    def run(self) -> History:
        """Train to the last epoch and return what happened."""
        self._resume()
        with self._interruption:
            while self._state.position.epoch < self._settings.epochs:
                try:
                    self._epoch()
                except Diverged as diverged:
                    self._go_back(diverged)
        return self._state.history

    def _epoch(self) -> None:
        state, started, before = self._state, time.perf_counter(), self._state.position.seconds
        state.model.train()
        for inputs, targets in self._stream():
            self._step(inputs, targets)
            state.position.seconds = before + time.perf_counter() - started
            overdue = time.monotonic() - self._kept_at > CHECKPOINT_SECONDS
            stopping, overdue = self._group.any(self._interruption.requested, overdue)
            if (stopping or overdue) and state.is_finite():
                self._keep()
            if stopping:
                self._stop()
        at = state.position
        if not at.examples:
            raise InputError(
                f"data: the train split gave no examples in epoch {at.epoch + 1}.",
                "Return a dataset, or an iterable that can be gone through once an epoch.",
            )
        record = Epoch(
            epoch=at.epoch + 1,
            loss=at.loss_sum / at.examples,
            validation_score=self._validated(),
            learning_rate=state.optimizer.param_groups[0]["lr"],
            seconds=before + time.perf_counter() - started,
        )
        if not state.is_finite():
            raise Diverged("the weights were no longer finite")
        state.history.epochs.append(record)
        state.position = Position(epoch=record.epoch)
        self._keep()
        if self._on_epoch:
            self._on_epoch(record)
        if self._group.any(self._interruption.requested)[0]:
            self._stop()

    def _step(self, inputs: Any, targets: Any) -> None:
        state, at = self._state, self._state.position
        total = self._group.total(count(inputs))
        if total:
            progress = (at.epoch + (at.step / self._steps if self._steps else 0.0)) / self._settings.epochs
            set_rate(state.optimizer, self._settings.learning_rate * schedule(progress) * state.guard.rate_scale)
            try:
                loss = self._stepper.step(inputs, targets, total)
                state.guard.watch(loss)
            except Diverged:
                _check_finite(inputs, at)
                raise
            if state.average:
                state.average.update(state.model)
            at.loss_sum, at.examples = at.loss_sum + loss * total, at.examples + total
        at.step += 1

    def _stream(self) -> Iterator[Batch]:
        """Return the batches that are left of the epoch."""
        state = self._state
        seed = self._settings.seed * 10_007 + state.position.epoch
        batches = self._batches(seed)  # may load the data first, and draw while it does
        rng.seed_everything(seed)
        batches = self._group.share(batches, seed)
        self._steps = _length(batches)
        stream = iter(batches)
        if state.position.step:
            deque(islice(stream, state.position.step), maxlen=0)
            state.restore_random(self._last, self._group.rank)
        return stream

    def _validated(self) -> float:
        """Return the validation score, measured by one process for all."""
        state = self._state
        return self._validate(state.average.model if state.average else state.model) if not self._group.rank else 0.0

    def _stop(self) -> NoReturn:
        at = self._state.position
        where = f"in epoch {at.epoch + 1}, after {at.step} steps" if at.step else f"after epoch {at.epoch}"
        kept = "everything up to there is kept" if self._checkpoints else "nothing of this training is kept"
        raise Evicted(f"Stopped by SIGTERM {where}; {kept}.", "Run the same again: it goes on from there.")

    def _resume(self) -> None:
        found = self._checkpoints.load(self._name) if self._checkpoints else None
        if found is not None:
            self._last = Snapshot(*found)
            self._state.restore(self._last)
            asked, kept = self._settings.micro_batch, self._state.micro_batch
            self._state.micro_batch = min(asked or kept or 0, kept or asked or 0) or None
            self._stepper.micro_batch = self._state.micro_batch
        self._group.require_same(self._state.position.epoch, self._state.position.step)

    def _keep(self) -> None:
        """Take a snapshot, and write it where there are checkpoints."""
        under_way = self._state.position.step > 0
        self._last = self._state.snapshot(self._group.gather(rng.capture()) if under_way else None)
        self._write(self._last)

    def _write(self, snapshot: Snapshot) -> None:
        if self._checkpoints and not self._group.rank:
            self._checkpoints.save(self._name, snapshot.tensors, snapshot.state)
        self._kept_at = time.monotonic()

    def _go_back(self, diverged: Diverged) -> None:
        """Return to the last kept state with a lower learning rate, or to the start where that was no better."""
        state, epoch, incidents = self._state, self._state.position.epoch + 1, self._state.history.incidents
        what = f"{str(diverged)[0].upper()}{str(diverged)[1:]} in epoch {epoch}"
        rate = state.optimizer.param_groups[0]["lr"]
        if state.guard.rollbacks == ROLLBACKS or not self._start.is_finite():
            again = f", after going back {ROLLBACKS} times" if state.guard.rollbacks else ""
            raise StepError(
                f"{what}, at a learning rate of {rate:.3g}{again}.",
                "Lower `train.learning_rate` (or that of `finetune`) or `train.clip_norm`; finished epochs are kept.",
            )
        state.guard.rollbacks += 1
        target = self._last if state.guard.trusts(self._last.loss()) and self._last.is_finite() else self._start
        state.restore(target)
        state.history.incidents = incidents
        state.micro_batch = self._stepper.micro_batch
        peak = self._settings.learning_rate * state.guard.rate_scale
        at = state.position
        where = f"step {at.step} of epoch {at.epoch + 1}" if at.step else f"the end of epoch {at.epoch}"
        where = "the start" if target is self._start else where
        self._tell("diverged", epoch, f"{what}; back to {where} with a peak rate of {peak:.3g}")
        self._last = Snapshot(target.tensors, state.described())
        self._write(self._last)

    def _tell_halved(self, text: str) -> None:
        self._state.micro_batch = self._stepper.micro_batch
        self._tell("out-of-memory", self._state.position.epoch + 1, text)

    def _tell(self, kind: Literal["diverged", "out-of-memory"], epoch: int, text: str) -> None:
        incident = Incident(kind=kind, epoch=epoch, text=text)
        self._state.history.incidents.append(incident)
        log.warning("%s", text)
        if self._on_incident:
            self._on_incident(incident)


def _length(batches: Iterable[Batch]) -> int:
    """Return how many batches there are, or 0 where that is not known."""
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:
        return 0


def _check_finite(inputs: Any, at: Position) -> None:
    """Raise InputError where the data, not the training, is at fault."""
    if not all(bool(t.isfinite().all()) for t in tensors(inputs) if t.is_floating_point()):
        raise InputError(
            f"data: batch {at.step + 1} of epoch {at.epoch + 1} has inputs that are not finite.",
            "Leave such examples out, or fill in what is missing.",
        )
