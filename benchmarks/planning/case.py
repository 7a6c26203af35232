"""Planning inputs of a model: groups, latency table and stand-in losses."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import nn

import benchmarks
from benchmarks.planning.models import build
from reprune.config.target import Target, machine
from reprune.data.model_io import Inputs, feed
from reprune.inference.latency.latency_table import LatencyTable
from reprune.inference.latency.profiler import profile
from reprune.inference.latency.quick_latency import measure_latency
from reprune.planning.baselines import macs_of
from reprune.planning.graph_timer import Stopwatch
from reprune.planning.sensitivity.curves import Curve, CurvePoint, Sensitivity
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.iterative.pruner import best_cells
from reprune.pruning.prune import cut

HERE = Path(__file__).parent
WORK = benchmarks.WORK / "planning"
"""Latency tables are kept here, so all scripts plan from the same ones."""

PROFILE_SECONDS = 60.0
SESSIONS, SECONDS = 3, 1.0
"""Number of timing sessions, and seconds for each graph in a session."""

SHARES = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
"""Points of the stand-in curves, as shares of a group's width."""


class Case:
    """A model with the inputs of a plan.

    Args:
        name: One of `models.MODELS`.
    """

    def __init__(self, name: str) -> None:
        torch.set_num_threads(1)
        self.name = name
        self.model, self.inputs, self.target = build(name)
        self.analysis = analyze(self.model, self.inputs)
        self.saliency = score(self.model, self.analysis, "l2")
        self.folder = Path(mkdtemp(prefix="planning-"))
        self._measured: dict[tuple[tuple[str, int], ...], list[float]] = {}

    @cached_property
    def table(self) -> LatencyTable:
        """Latency table of this machine, measured once."""
        WORK.mkdir(parents=True, exist_ok=True)
        path = WORK / f"{slug(self.name)}-{machine().key(self.target)}.json"
        if not path.is_file():
            start = time.perf_counter()
            table = profile(self.analysis.operators, self.target, seconds=PROFILE_SECONDS)
            path.write_text(table.model_dump_json())
            print(f"{self.name}: {len(table.points)} latencies in {time.perf_counter() - start:.0f} s", flush=True)
        return LatencyTable.model_validate_json(path.read_text())

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """Stand-in for measured losses, since the weights are random.

        The loss of a width is minus the logarithm of the kept share of the group's squared weights, times the number of
        layers that write to the group, so every layer's output has the same weight.
        """
        layers = Counter(name for operator in self.analysis.operators for name in operator.out_cells)
        curves = {}
        for group in self.analysis.groups:
            squares = self.saliency[group.name].square().sort(descending=True).values
            kept = squares.cumsum(0) / squares.sum()
            widths = sorted({max(round(share * group.width), 1) for share in SHARES} - {group.width})
            losses = [-layers[group.name] * math.log(float(kept[w - 1])) for w in widths]
            points = [
                CurvePoint(width=w, loss_increase=loss, standard_error=0.0)
                for w, loss in zip(widths, losses, strict=True)
            ]
            curves[group.name] = Curve(dense_width=group.width, points=tuple(points))
        return Sensitivity(criterion="l2", examples=0, dense_loss=0.0, curves=curves)

    @cached_property
    def watch(self) -> Stopwatch:
        """Timer of whole graphs against the dense one."""
        return Stopwatch(self.model, self.batch, [self.target], self.folder)

    def batch(self, size: int) -> Inputs:
        """Return example inputs of a batch size."""
        assert isinstance(self.inputs, torch.Tensor)
        return self.inputs[torch.arange(size) % len(self.inputs)]

    def cut(self, widths: Mapping[str, int]) -> nn.Module:
        """Return the model cut to some widths."""
        return cut(self.model, self.analysis, best_cells(self.saliency, widths, self.analysis))[0]

    def measure(self, widths: Mapping[str, int]) -> list[float]:
        """Return the graph's latency at some widths; each is measured once."""
        key = tuple(sorted(widths.items()))
        if key not in self._measured:
            self._measured[key] = self.watch.seconds(self.cut(widths)) if widths else self.watch.dense_seconds
        return self._measured[key]

    def macs(self, widths: Mapping[str, int] | None = None) -> float:
        """Return the multiply-accumulates of the operators for one example."""
        return macs_of(self.analysis, widths or {})


def ratios(files: Mapping[str, Path], inputs: Inputs, target: Target) -> dict[str, list[float]]:
    """Time graphs in turns, and return each latency relative to ``dense`` by session.

    Durations come from the target's own timer, which a busy machine hardly affects.

    Args:
        files: ONNX files by name. ``dense`` is among them, and is timed again as ``control``.
        inputs: Example inputs.
        target: Hardware to time on.
    """
    found: dict[str, list[float]] = {name: [] for name in (*files, "control")}
    for session in range(SESSIONS):
        timed = measure_latency(
            {**files, "control": files["dense"]}, feed(inputs), target, seconds=SECONDS * len(files), seed=session
        )
        for name, seconds in timed.items():
            found[name].append(seconds / timed["dense"])
    return found


def slug(name: str) -> str:
    """Return a name as a part of file names."""
    return "".join(c if c.isalnum() else "-" for c in name.lower())
