"""Compare the accuracy of the planner's widths and of baselines' at equal latency.

    python -m benchmarks.planning.accuracy [workload ...]      # resumes

Every plan has the same measured latency, is cut from the same dense model by the same importance scores, and recovers
for the same number of steps with the same settings; only the widths differ.
"""

import copy
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.planning.case import HERE, WORK, Case
from benchmarks.records import Records
from reprune.config import entry_points, loading
from reprune.config.sections import Budget
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.planning import baselines
from reprune.planning.cost_model import Prices
from reprune.planning.graph_timer import Stopwatch
from reprune.planning.plan import make_plan
from reprune.planning.sensitivity.analyze import analyze_sensitivity, score_cells
from reprune.planning.sensitivity.curves import Sensitivity
from reprune.pruning.batchnorm import reestimate
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.iterative.pruner import best_cells, first_batches
from reprune.pruning.prune import cut, rounded
from reprune.training.distillation import Distillation
from reprune.training.evaluation import scores
from reprune.training.trainer import Settings, fit, seed_everything

WORKLOADS = ("digits", "stdlib-text")
CASES = {"digits": "ResNet-20 (digits)", "stdlib-text": "stdlib text"}
SPEEDUPS = (3, 5, 8)
SEEDS = (0, 1, 2, 3, 4)
EPOCHS = {"digits": 24, "stdlib-text": 1}
"""Epochs of fine-tuning: 312 steps on the digits, 188 on the text."""

ROUND_TO = (1, 4, 8, 16)
"""Roundings of baseline plans; the slowest plan within the budget is used."""

AROUND = 3
"""Number of plans measured on either side of the one where a baseline crosses the limit."""


class Workbench:
    """A trained dense model, and the inputs of its plans.

    Args:
        name: A shipped workload.
    """

    def __init__(self, name: str) -> None:
        torch.set_num_threads(1)
        self.name, self.workload = name, loading.load(name)
        self.data = Data(self.workload)
        self.task = tasks.of(self.workload, self.data)
        self.dense = entry_points.resolve(self.workload.model, key="model")
        self.dense = self._trained(self.dense)
        self.target = self.workload.target[0]
        self.analysis = analyze(self.dense, self.data.example())
        seed_everything(0)
        self.examples = first_batches(self._batches(0), self.workload.prune.examples)
        self.saliency = score(self.dense, self.analysis, self.workload.prune.criterion, self.examples, self._mean_loss)

    def plans(self) -> dict[str, list[dict[str, int]] | None]:
        """Return the plans of each baseline; None for the planner itself."""
        magnitudes = score(self.dense, self.analysis, "l2")
        return {
            "measured": None,
            "uniform": self._rounded(baselines.uniform(self.analysis)),
            "global magnitude": self._rounded(baselines.magnitude(self.analysis, magnitudes)),
            "MACs": self._rounded(baselines.macs(self.analysis, self.sensitivity)),
        }

    def _rounded(self, row: list[dict[str, int]]) -> list[dict[str, int]]:
        """Return a baseline's plans in all roundings, by descending MACs."""
        found = [
            {name: rounded(self.analysis, name, width, multiple) for name, width in plan.items()}
            for plan in row
            for multiple in ROUND_TO
        ]
        unique = {tuple(plan.items()): plan for plan in found}.values()
        return sorted(unique, key=lambda plan: baselines.macs_of(self.analysis, plan), reverse=True)

    def prepare(self) -> None:
        """Measure the operators, the losses and the dense graph."""
        self.table = Case(CASES[self.name]).table
        kept = WORK / f"{self.name}-sensitivity.json"
        if not kept.is_file():
            kept.write_text(self._losses().model_dump_json())
        self.sensitivity = Sensitivity.model_validate_json(kept.read_text())
        folder = Path(mkdtemp(prefix="accuracy-"))
        self.watch = Stopwatch(self.dense, lambda size: self.data.example(batch_size=size), [self.target], folder)
        self._ratios: dict[tuple[tuple[str, int], ...], float] = {}

    def _losses(self) -> Sensitivity:
        """Measure the loss at reduced widths."""
        batches = list(self.data.batches("validation", limit=self.workload.prune.examples))
        scored = score_cells(self.dense, self.analysis, batches, self.task.loss, self.workload.prune.criterion)
        return analyze_sensitivity(
            self.dense,
            self.analysis,
            batches,
            self.task.loss,
            criterion=self.workload.prune.criterion,
            scored=scored._replace(saliency=self.saliency),
        )

    def plan(self, row: list[dict[str, int]] | None, speedup: float) -> dict[str, Any] | None:
        """Return the widths of a plan with this speed-up over dense, or None."""
        limit = 1 / speedup
        widths = self._planned(limit) if row is None else self._widest(row, limit)
        if widths is None:
            return None
        return {
            "widths": widths,
            "latency_ratio": self._ratio(widths),
            "macs": baselines.macs_of(self.analysis, widths),
        }

    def _planned(self, limit: float) -> dict[str, int]:
        """Return the planner's widths."""
        plan = make_plan(
            self.analysis,
            [self.table],
            self.sensitivity,
            Budget(latency=f"{limit:.6f}x"),
            measure=lambda widths: self.watch.seconds(self.cut(widths)) if widths else self.watch.dense_seconds,
        )
        return plan.widths

    def _widest(self, row: list[dict[str, int]], limit: float) -> dict[str, int] | None:
        """Return the baseline's slowest plan whose measured latency is within the limit.

        Plans are sorted by predicted latency; bisection finds where measured latencies cross the limit, and the plans
        around it are measured too, since the prediction does not give the exact order.
        """
        prices = Prices(self.analysis, [self.table])
        row = sorted(row, key=lambda plan: float(prices.latencies(plan)[0]), reverse=True)
        low, high = 0, len(row) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._ratio(row[middle]) <= limit else (middle + 1, high)
        near = row[max(low - AROUND, 0) : low + AROUND + 1]
        within = [plan for plan in near if self._ratio(plan) <= limit]
        return max(within, key=self._ratio, default=None)

    def _ratio(self, widths: dict[str, int]) -> float:
        """Return the latency at some widths relative to dense; each is measured once."""
        key = tuple(sorted(widths.items()))
        if key not in self._ratios:
            self._ratios[key] = self.watch.ratios(self.cut(widths))[0]
        return self._ratios[key]

    def cut(self, widths: Mapping[str, int]) -> torch.nn.Module:
        """Return the dense model cut to some widths."""
        return cut(self.dense, self.analysis, best_cells(self.saliency, widths, self.analysis))[0]

    def recovered(self, widths: Mapping[str, int], seed: int) -> dict[str, float]:
        """Cut and recover, and return the test scores before and after."""
        model = self.cut(widths)
        reestimate(model, (inputs for inputs, _ in self.examples))
        before, finetune = self._score(model), self.workload.finetune
        rate = finetune.learning_rate or self.workload.train.learning_rate / 3
        teacher = copy.deepcopy(self.dense)  # a teacher is frozen, and later cuts start from the dense model
        fit(
            model,
            self._batches,
            Distillation(self.task, teacher, weight=finetune.distillation, temperature=finetune.temperature),
            self._settings(EPOCHS[self.name], rate, 100 + seed),
            validate=lambda trained: 0.0,
        )
        return {"before": before, "score": self._score(model)}

    def dense_score(self) -> float:
        """Return the dense model's test score."""
        return self._score(self.dense)

    def _trained(self, build: Any) -> torch.nn.Module:
        """Train the dense model with the workload's settings, or load its weights."""
        WORK.mkdir(parents=True, exist_ok=True)
        seed_everything(self.workload.seed)
        model, path = build(), WORK / f"{self.name}.safetensors"
        if path.is_file():
            model.load_state_dict(load_file(path))
            return model.eval()
        train = self.workload.train
        settings = self._settings(train.epochs, train.learning_rate, self.workload.seed)
        loss = lambda outputs, targets, inputs: self.task.loss(outputs, targets)  # noqa: E731
        fit(model, self._batches, loss, settings, validate=lambda trained: 0.0)
        save_file(model.state_dict(), path)
        return model

    def _settings(self, epochs: int, rate: float, seed: int) -> Settings:
        train = self.workload.train
        return Settings(
            epochs=epochs,
            learning_rate=rate,
            optimizer=train.optimizer,
            weight_decay=train.weight_decay,
            clip_norm=train.clip_norm,
            seed=seed,
        )

    def _batches(self, seed: int) -> Iterable[Any]:
        return self.data.training_batches(batch_size=self.workload.train.batch_size, seed=seed)

    def _mean_loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        return self.task.loss(outputs, targets).mean()

    def _score(self, model: torch.nn.Module) -> float:
        return float(scores(model, self.data.batches("test"), self.task).mean())


def main(names: list[str]) -> None:
    """Make the plans, then fine-tune each with every seed."""
    planned = Records(HERE / "accuracy_plans.jsonl", ("workload", "speedup", "plan"))
    done = Records(HERE / "accuracy.jsonl", ("workload", "speedup", "plan", "seed"))
    for name in names:
        bench = Workbench(name)
        if sum(row["workload"] == name for row in planned) < 4 * len(SPEEDUPS):
            bench.prepare()
            for plan, row in bench.plans().items():
                for speedup in SPEEDUPS:
                    if not planned.has(name, speedup, plan):
                        start = time.perf_counter()
                        found = bench.plan(row, speedup)
                        seconds = time.perf_counter() - start
                        common = {"workload": name, "speedup": speedup, "plan": plan, "planning_seconds": seconds}
                        found = found or {"infeasible": True}
                        planned.add(**common, dense_score=bench.dense_score(), **found)
                        print(name, plan, speedup, found.get("latency_ratio", 0) * speedup, "of the budget", flush=True)
        wanted = [(seed, it) for seed in SEEDS for it in planned if it["workload"] == name and "widths" in it]
        for seed, it in wanted:
            key = {field: it[field] for field in ("workload", "speedup", "plan")} | {"seed": seed}
            if not done.has(*key.values()):
                start = time.perf_counter()
                found = bench.recovered(it["widths"], seed)
                print(done.add(**key, **found, seconds=time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(WORKLOADS))
