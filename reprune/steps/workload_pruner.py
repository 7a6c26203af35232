"""The iterative pruner on a workload: planned and searched for in rounds, or by a recipe that served before."""

import copy
import time
from collections.abc import Sequence
from functools import cached_property

from torch import nn

from reprune.errors import InputError
from reprune.formatting import clock, score
from reprune.inference.latency.latency_table import LatencyTable
from reprune.planning.plan import Plan
from reprune.planning.planning_context import Subject
from reprune.planning.sensitivity.curve_cache import Memory
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning.batchnorm import reestimate
from reprune.pruning.iterative.cost import Cost, macs_of
from reprune.pruning.iterative.pruner import Limits, Loop, Outcome, Parts, best_cells
from reprune.pruning.iterative.pruner_state import Cutting, Progress
from reprune.pruning.iterative.rounds import Judgement, Measured, Round
from reprune.pruning.iterative.schedules import Fixed, Following, Pace
from reprune.pruning.recipe_overlap import kept_cells, overlap
from reprune.pruning.surgery import replay
from reprune.steps import recovery
from reprune.steps.context import Step
from reprune.steps.warm_start import Former, FormerModel, WarmStart, shortened
from reprune.storage.checkpoints import Checkpoints
from reprune.training.training_history import Epoch

PLAN, REPLAY = "plan", "replay"
"""Names of the plan, and of what the replayed recipe costs, among the checkpoints."""

DROP = 0.05
"""Drop of the score that a round is allowed by default, at least."""


class Pruner:
    """Prunes a workload's dense model.

    Args:
        step: The step under way.
        subject: The dense model, and what a plan of it is made from.
        checkpoints: Where the work is kept.
    """

    def __init__(self, step: Step, subject: Subject, checkpoints: Checkpoints) -> None:
        self._step, self._subject, self._checkpoints = step, subject, checkpoints
        self._settings = step.workload.prune
        self._rounds = self._settings.rounds if isinstance(self._settings.rounds, int) else None
        self.analyzed: Sensitivity | None = None  # where it was not done before
        self._place = (0, 1)  # rounds that are over, and that are still to come
        self._seconds: list[float] = []

    @cached_property
    def _baseline(self) -> Judgement:
        return recovery.judgement(self._step, self._subject.model)

    @cached_property
    def _cost(self) -> Cost:
        return recovery.recovery_cost(self._step, self._subject.model)

    def search(self, tables: Sequence[LatencyTable], curves: Sensitivity | None, spent: float) -> tuple[Plan, Outcome]:
        """Plan the widths, and go there in rounds.

        Args:
            tables: One for each target.
            curves: Loss against width; None to measure it now.
            spent: What was spent on recovery before, in dense trainings.
        """
        plan = self._plan(tables, curves)
        pace: Pace = Following()
        if self._rounds is not None:
            pace = Fixed(self._settings.schedule, self._rounds, self._settings.epochs)
        self._place = (0, pace.ahead(()))
        planned = self._macs(self._subject.narrowed(plan.widths))
        aware = recovery.aware_epochs(self._step.workload, self._step.workload.finetune.epochs)
        finetune = self._cost.of(planned, self._step.workload.finetune.epochs + aware)
        outcome = self._loop(pace, reserved=finetune + spent, rate=recovery.recovery_rate(self._step)).run(
            self._subject.model,
            self._baseline,
            plan.widths,
            progress=Progress(self._checkpoints),
            on_round=self._tell,
        )
        return plan, outcome

    def replay(self, former: Former, model: FormerModel | str) -> tuple[WarmStart, Outcome | None]:
        """Take the champion's cut, recover with the new dense model as the teacher, and see whether that serves.

        Args:
            former: The cut.
            model: The champion, whose weights recovery begins from; or why the dense model is cut again instead.

        Returns:
            What became of it, and the outcome if it serves.
        """
        step, analysis = self._step, self._subject.analysis
        step.progress(f"replaying the recipe of the champion {former.version}")
        kept = kept_cells(former.recipe, analysis)
        widths = {name: len(cells) for name, cells in kept.items()}
        today = {name: list(range(width)) for name, width in widths.items()}
        today |= best_cells(self._subject.saliency, widths, analysis)
        known = WarmStart(
            version=former.version,
            reason="",
            overlap=overlap(kept, today, analysis),
            former_cost=former.cost,
            begun=_begun(model),
            weights=None if isinstance(model, str) else model.weights,
        )
        step.tell(known.begun)
        cutting = self._replayed(former, model, widths)
        name = f"the recipe of the champion {former.version}"
        if cutting.measured.excess > 1:
            over = f"{cutting.measured.latency_ratio:.2f}x latency is {cutting.measured.excess:.2f} of it"
            return known.model_copy(update={"reason": f"{name} misses the budget ({over})"}), None
        epochs = shortened(step.workload.finetune.epochs, step.workload.warm_start)
        rate = recovery.recovery_rate(step) if isinstance(model, str) else recovery.warm_rate(step)
        reserved = self._cost.of(self._macs(cutting.model), epochs)
        loop = self._loop(Following(), reserved=reserved, rate=rate, name=REPLAY)
        done = loop.recover(cutting, self._baseline, number=1, spent=0.0, started=time.perf_counter())
        known = known.model_copy(update={"round": done})
        lost = f"{100 * done.drop:.1f} points below dense on validation, {100 * done.drop_allowed:.1f} allowed"
        if not done.recovered:
            return known.model_copy(update={"reason": f"{name} no longer recovers ({lost})"}), None
        reason = f"{name} still serves: {done.latency_ratio:.2f}x latency, {lost}"
        known = known.model_copy(update={"reason": reason, "accepted": True})
        return known, Outcome(cutting.model, former.recipe, done, (done,), reason)

    def _replayed(self, former: Former, begun: FormerModel | str, widths: dict[str, int]) -> Cutting:
        """Return what the replay begins from, and what it costs: measured once."""
        if isinstance(begun, FormerModel):
            model = begun.model
        else:
            model = replay(self._subject.model, former.recipe)
            reestimate(model, (inputs for inputs, _ in self._subject.training_batches))
        found = self._checkpoints.load(REPLAY)
        measured = Measured(**found[1]) if found else self._measure(model)
        if not found:
            self._checkpoints.save(REPLAY, {}, vars(measured))
        return Cutting(model, former.recipe, 1.0, widths, measured)

    def _plan(self, tables: Sequence[LatencyTable], curves: Sensitivity | None) -> Plan:
        found = self._checkpoints.load(PLAN)
        if found:  # measured anew, it would be another plan
            return Plan.model_validate(found[1])
        step, subject = self._step, self._subject
        if curves is None:
            memory = Memory(step.store, step.workload.name)
            curves = subject.sensitivity(memory, lambda done: step.progress("analyzing sensitivity", done))
            self.analyzed = curves
        step.progress("planning widths")
        plan = subject.plan(
            tables, curves, alternatives=0, progress=lambda done: step.progress("measuring the planned graph", done)
        )
        if plan.widths == plan.dense_widths:
            raise InputError(
                f"budget.latency: the dense model holds {step.workload.budget.latency.text} as it is, so that there "
                "is nothing to prune.",
                "Lower the budget, or serve the dense model.",
            )
        self._checkpoints.save(PLAN, {}, plan.model_dump(mode="json"))
        return plan

    def _loop(self, pace: Pace, *, reserved: float, rate: float, name: str = "round") -> Loop:
        step, prune = self._step, self._settings
        drop = max(DROP, 2 * step.workload.budget.accuracy_drop) if prune.score_drop is None else prune.score_drop
        limits = Limits(epochs=prune.epochs, drop=drop, cost=self._cost, most=prune.cost_limit, reserved=reserved)
        teacher = copy.deepcopy(self._subject.model)  # a teacher has no gradients, which saliency needs

        def recover(model: nn.Module, number: int, again: bool, epochs: int) -> None:
            seed = step.workload.seed + 100 + number + 1000 * again
            text = f"{name} {self._of(number)} · recovering{' once more' if again else ''}"
            over, ahead = self._place

            def tell(epoch: Epoch) -> None:
                told = f"{text}, epoch {epoch.epoch} of {epochs} · {score(epoch.validation_score)} on validation"
                step.progress(told, (over + epoch.epoch / (epochs + 1)) / (over + max(ahead, 1)))

            recovery.learn(
                step,
                model,
                recovery.settings(step, epochs=epochs, learning_rate=rate, seed=seed),
                teacher=teacher,
                checkpoints=self._checkpoints,
                name=f"{name}-{number}{'-again' if again else ''}",
                on_epoch=tell,
            )

        parts = Parts(
            example_inputs=step.data.example(),
            criterion=prune.criterion,
            saliency_batches=self._subject.training_batches,
            loss=recovery.mean_loss(step.task),
            recover=recover,
            judge=lambda model: recovery.judgement(step, model),
            measure=self._measure,
            clock=time.perf_counter,
        )
        return Loop(parts, limits, pace)

    def _macs(self, model: nn.Module) -> int:
        return macs_of(model, self._step.data.example())

    def _measure(self, model: nn.Module) -> Measured:
        """Measure what a model costs; where it seems to cost too much, the median of three measurements decides."""
        measured = [self._measure_once(model)]
        if measured[0].excess > 1:
            measured += [self._measure_once(model) for _ in range(2)]
        return sorted(measured, key=lambda it: it.excess)[len(measured) // 2]

    def _measure_once(self, model: nn.Module) -> Measured:
        watch, budget = self._subject.watch, self._step.workload.budget
        ratios = watch.ratios(model)
        shares = [
            ratio * dense / budget.latency.resolve(dense)
            for ratio, dense in zip(ratios, watch.dense_seconds, strict=True)
        ]
        if budget.size is not None:
            shares.append(watch.size_bytes / budget.size.resolve(watch.dense_size_bytes))
        return Measured(max(ratios), watch.size_bytes, max(shares))

    def _tell(self, done: Round, ahead: int) -> None:
        """Tell of a round that is over, and of what is still to come."""
        self._seconds.append(done.seconds)
        self._place = (done.round, ahead)
        kept = sum(done.widths.values()) / sum(group.width for group in self._subject.analysis.groups)
        left = f", {clock(ahead * sum(self._seconds) / len(self._seconds))} left" if ahead else ""
        scores = f"{self._step.task.metric} {score(done.score_before)} → {score(done.score_after)}"
        scores += "" if done.recovered else " (taken back)"
        self._step.tell(
            f"round {self._of(done.round)}: {kept:.0%} of the channels kept, {done.latency_ratio:.2f}x latency, "
            f"loss {done.loss_before:.3f} → {done.loss_after:.3f}, {scores}, "
            f"{done.cost_so_far:.2f} of a dense training so far{left}"
        )

    def _of(self, number: int) -> str:
        """Return a round's number and how many there are, as far as can be told."""
        about = "" if self._rounds else "about "
        return f"{number} of {about}{max(sum(self._place), number)}"


def _begun(model: FormerModel | str) -> str:
    if isinstance(model, str):
        return f"recovery began from the new dense model, cut again: {model}"
    return "recovery began from the champion's own weights, with the new dense model as the teacher"
