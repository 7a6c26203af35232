"""A dense model on its targets, with everything that a plan of it is made from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

from torch import Tensor, nn

from reprune.config.entry_points import use_code
from reprune.config.target import machine
from reprune.config.workload import Workload
from reprune.data import tasks
from reprune.data.datasets import Batch, Data
from reprune.data.model_io import Inputs
from reprune.data.tasks import Task
from reprune.errors import InputError
from reprune.inference.latency import profile_store
from reprune.inference.latency.latency_table import LatencyTable
from reprune.inference.onnx.export import export
from reprune.planning import baselines
from reprune.planning.dense_model import Dense, find
from reprune.planning.graph_timer import Stopwatch
from reprune.planning.plan import Plan, make_plan
from reprune.planning.sensitivity.analyze import analyze_sensitivity
from reprune.planning.sensitivity.curve_cache import Memory
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning.graph.analysis import Analysis
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.iterative.pruner import best_cells, first_batches
from reprune.pruning.prune import cut
from reprune.storage.base import Store
from reprune.training.trainer import seed_everything

Method = Literal["measured", "uniform", "magnitude", "macs"]
"""The planner's own way, and those it is compared with (`reprune.planning.baselines`)."""

METHODS: tuple[Method, ...] = get_args(Method)

Progress = Callable[[float], None]

EXAMPLES_A_BATCH = 32


@contextmanager
def prepared(workload: Workload, store: Store) -> Iterator[tuple["Subject", Dense]]:
    """Prepare a workload for planning outside a run, with the best dense model that is at hand.

    Raises:
        InputError: The workload's code, data, model or weights cannot be used, or this machine cannot serve a target.
    """
    use_code(workload.code)
    for target in workload.target:
        target.check()
    dense = find(workload, store)
    data = Data(workload)
    with TemporaryDirectory(prefix="reprune-plan-") as folder:
        yield Subject(dense.model, workload, data, tasks.of(workload, data), Path(folder)), dense


class Subject:
    """What is planned for.

    Args:
        model: The dense model.
        workload: Names the targets, the budget, and how cells are ranked.
        data: Its data.
        task: Its task.
        folder: For ONNX files.
    """

    def __init__(self, model: nn.Module, workload: Workload, data: Data, task: Task, folder: Path) -> None:
        self.model = model
        self.workload = workload
        self._data, self._task, self._folder = data, task, folder

    @cached_property
    def analysis(self) -> Analysis:
        """The model's groups and operators."""
        return analyze(self.model, self._data.example())

    @cached_property
    def watch(self) -> Stopwatch:
        """Times graphs on the targets, against the dense one."""
        return Stopwatch(
            self.model, lambda size: self._data.example(batch_size=size), self.workload.target, self._folder
        )

    @cached_property
    def training_batches(self) -> list[Batch]:
        """The training examples that saliency is computed on."""
        workload = self.workload
        seed_everything(workload.seed)  # the train split may be distorted at random
        batches = self._data.training_batches(batch_size=workload.train.batch_size, seed=workload.seed)
        return first_batches(batches, workload.prune.examples)

    @cached_property
    def saliency(self) -> dict[str, Tensor]:
        """The saliency of each group's cells: the lowest go first."""
        return score(
            self.model, self.analysis, self.workload.prune.criterion, self.training_batches, loss=self._mean_loss
        )

    def tables(self, store: Store, progress: Progress | None = None) -> list[LatencyTable]:
        """Return the latency table of each target; what the store does not hold yet is measured and kept there."""
        targets = self.workload.target
        tell = progress or (lambda share: None)
        return [
            profile_store.complete(
                store,
                self.analysis.operators,
                target,
                refine=False,
                progress=lambda share, done=k: tell((done + share) / len(targets)),  # type: ignore[misc]
            ).table
            for k, target in enumerate(targets)
        ]

    def sensitivity(self, memory: Memory | None, progress: Progress | None = None) -> Sensitivity:
        """Measure loss against width for each group, on examples of the validation split.

        Args:
            memory: Where curves are kept: what it holds of this model is not measured again; None to forget them.
            progress: Called with the share done, 0 to 1.
        """
        return analyze_sensitivity(
            self.model,
            self.analysis,
            list(self._data.batches("validation")),
            self._task.loss,
            criterion=self.workload.prune.criterion,
            examples=self.workload.prune.examples,
            seed=self.workload.seed,
            memory=memory,
            progress=progress,
        )

    def example(self, batch_size: int) -> Inputs:
        """Return inputs of the first examples of the validation split."""
        inputs: Inputs = self._data.example(batch_size=batch_size)
        return inputs

    def examples(self, batches: int) -> Iterator[Inputs]:
        """Yield the inputs of some batches of the validation split."""
        for inputs, _ in islice(self._data.batches("validation", batch_size=EXAMPLES_A_BATCH), batches):
            yield inputs

    def export(self, path: Path, widths: Mapping[str, int] | None = None) -> Path:
        """Write the model at some widths, by default the dense one, as ONNX; returns the file."""
        export(self.narrowed(widths) if widths else self.model, self.example(2), path)
        return path

    def narrowed(self, widths: Mapping[str, int]) -> nn.Module:
        """Return the model cut to some widths, its least important cells gone, not trained any further."""
        return cut(self.model, self.analysis, best_cells(self.saliency, widths, self.analysis))[0]

    def measure(self, widths: Mapping[str, int]) -> Sequence[float]:
        """Return the latency of the whole graph at some widths on each target, in seconds."""
        return self.watch.seconds(self.narrowed(widths)) if widths else self.watch.dense_seconds

    def plan(
        self,
        tables: Sequence[LatencyTable],
        sensitivity: Sensitivity,
        *,
        method: Method = "measured",
        alternatives: int | None = None,
        progress: Progress | None = None,
    ) -> Plan:
        """Plan for the workload's budget; the graph is measured where the tables are of this machine.

        Args:
            tables: One for each target.
            sensitivity: Loss against width.
            method: How the widths are chosen.
            alternatives: Return plans for other latencies too, so many of them measured.
            progress: Called with the share done, 0 to 1.

        Raises:
            InputError: No widths hold the budget, or none were found that hold it as measured.
        """
        here = all(machine().key(table.target) == table.key for table in tables)
        plan = make_plan(
            self.analysis,
            tables,
            sensitivity,
            self.workload.budget,
            measure=self.measure if here else None,
            dense_size_bytes=self.watch.dense_size_bytes,
            plans=self._row(method, sensitivity),
            alternatives=alternatives,
            progress=progress,
        )
        if not plan.holds:
            taken = plan.measured_latency_seconds or plan.predicted_latency_seconds
            closest = max(seconds / dense for seconds, dense in zip(taken, plan.dense_seconds, strict=True))
            raise InputError(
                f"budget: no widths were found that hold {self.workload.budget.latency.text} as measured.",
                f"The closest takes {closest:.2f}x: allow more latency or size, or start from a smaller model.",
            )
        return plan

    def _row(self, method: Method, sensitivity: Sensitivity) -> list[baselines.Widths] | None:
        if method == "measured":
            return None
        if method == "uniform":
            return baselines.uniform(self.analysis)
        if method == "magnitude":
            return baselines.magnitude(self.analysis, score(self.model, self.analysis, "l2"))
        return baselines.macs(self.analysis, sensitivity)

    def _mean_loss(self, outputs: object, targets: object) -> Tensor:
        return self._task.loss(outputs, targets).mean()
