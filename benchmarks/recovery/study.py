"""A trained dense model, its data, and one training loop for all methods."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import benchmarks
from reprune.config import loading
from reprune.config.workload import Workload
from reprune.data import tasks
from reprune.data.datasets import Batch, Data
from reprune.data.model_io import call
from reprune.planning.plan import Plan
from reprune.planning.planning_context import Subject
from reprune.pruning import bundle
from reprune.storage.uri import open_store
from reprune.training.distillation import Distillation
from reprune.training.evaluation import losses, scores
from reprune.training.trainer import Settings, fit, seed_everything

WORK = benchmarks.WORK / "recovery"
"""Dense weights, plans and latency tables are kept here, the same for all methods."""

WARM_UP = 0.1

Held = Callable[[torch.optim.Optimizer, int], AbstractContextManager[object]]
"""Makes a context that keeps weights at zero, from the optimizer and the number of steps."""


@dataclass(frozen=True)
class Study:
    """A workload's dense model, trained with one seed.

    Attributes:
        name: Name of the workload.
        seed: Seed of the weights and of the order of examples.
        epochs: Epochs of recovery.
        temperature: Temperature of the teacher, if not the workload's.
    """

    name: str
    seed: int
    epochs: int
    temperature: float | None = None

    @cached_property
    def workload(self) -> Workload:
        """The shipped workload with this seed."""
        return loading.load(self.name).replace(seed=self.seed)

    @cached_property
    def data(self) -> Data:
        """The workload's data."""
        return Data(self.workload)

    @cached_property
    def task(self) -> tasks.Task:
        """The workload's task."""
        return tasks.of(self.workload, self.data)

    @cached_property
    def dense(self) -> nn.Module:
        """The dense model, trained with the shipped settings on first use."""
        seed_everything(self.seed)
        model = bundle.build(self.workload.model, key="model")
        path = WORK / f"{self.name}-{self.seed}.safetensors"
        if not path.exists():
            train, (data, task) = self.workload.train, (self.data, self.task)
            settings = Settings(
                epochs=train.epochs,
                learning_rate=train.learning_rate,
                optimizer=train.optimizer,
                weight_decay=train.weight_decay,
                seed=self.seed,
            )
            fit(
                model,
                lambda seed: data.training_batches(batch_size=train.batch_size, seed=seed),
                lambda outputs, targets, _: task.loss(outputs, targets),
                settings,
                validate=lambda trained: float(scores(trained, data.batches("validation"), task).mean()),
            )
            WORK.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
        model.load_state_dict(load_file(path))
        return model.eval()

    @cached_property
    def subject(self) -> Subject:
        """The inputs of plans."""
        return Subject(self.dense, self.workload, self.data, self.task, Path(mkdtemp(prefix="recovery-")))

    def plan(self, speed_up: int) -> Plan:
        """Return the plan for a measured speed-up, made once for all methods."""
        path = WORK / f"{self.name}-{self.seed}-{speed_up}x.json"
        if not path.exists():
            budget = self.workload.budget.model_dump(mode="json") | {"latency": f"{1 / speed_up:.4f}x"}
            asked = self.workload.replace(budget=budget)
            subject = Subject(self.dense, asked, self.data, self.task, Path(mkdtemp(prefix="recovery-")))
            tables = subject.tables(open_store(str((WORK / "store").resolve())))
            path.write_text(subject.plan(tables, self._curves).model_dump_json())
        return Plan.model_validate_json(path.read_text())

    @cached_property
    def _curves(self):  # type: ignore[no-untyped-def]
        return self.subject.sensitivity(None)

    def judge(self, model: nn.Module) -> dict[str, float]:
        """Return the mean score and loss of a model on the test split."""
        return {
            "score": float(scores(model, self.data.batches("test"), self.task).mean()),
            "loss": float(losses(model, self.data.batches("test"), self.task).mean()),
        }

    def train(
        self, model: nn.Module, epochs: int, *, distill: bool, seed: int, held: Held | None = None
    ) -> dict[str, float]:
        """Train a model in place with one cycle of the learning rate.

        Args:
            model: Trained in place and left in eval mode.
            epochs: Passes over the train split.
            distill: Whether to distill from the dense model with the workload's settings.
            seed: Seed of the order of examples.
            held: Keeps weights at zero.

        Returns:
            The number of steps and the CPU seconds.
        """
        settings, started = self.workload.train, time.process_time()
        weight = self.workload.finetune.distillation if distill else 0.0
        temperature = self.temperature or self.workload.finetune.temperature
        loss = Distillation(self.task, copy.deepcopy(self.dense), weight=weight, temperature=temperature)
        peak = self.workload.finetune.learning_rate or settings.learning_rate / 3
        optimizer = _optimizer(model, settings.optimizer, peak, settings.weight_decay)
        steps = epochs * len(self.data.training_batches(batch_size=settings.batch_size, seed=seed))
        with held(optimizer, steps) if held else nullcontext():
            for step, (inputs, targets) in enumerate(self._batches(epochs, settings.batch_size, seed)):
                model.train()
                for group in optimizer.param_groups:
                    group["lr"] = peak * _one_cycle(step / steps)
                optimizer.zero_grad(set_to_none=True)
                loss(call(model, inputs), targets, inputs).mean().backward()
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm or math.inf)
                optimizer.step()
        model.eval()
        return {"steps": steps, "cpu_seconds": time.process_time() - started}

    def _batches(self, epochs: int, size: int, seed: int) -> Iterator[Batch]:
        for epoch in range(epochs):
            seed_everything(seed * 10_007 + epoch)
            yield from self.data.training_batches(batch_size=size, seed=seed * 10_007 + epoch)


def split(epochs: int, rounds: int) -> Sequence[int]:
    """Split epochs over rounds as evenly as possible."""
    return [epochs * (k + 1) // rounds - epochs * k // rounds for k in range(rounds)]


def _optimizer(model: nn.Module, name: str, rate: float, decay: float) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate)


def _one_cycle(progress: float) -> float:
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.01)
    return max(0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))), 0.001)
