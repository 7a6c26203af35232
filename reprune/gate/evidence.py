"""What the gate judges by: dense, candidate and champion answering the same examples, and what others measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reprune import hashing
from reprune.config import entry_points
from reprune.config.workload import Evaluation
from reprune.data import scoring
from reprune.data.datasets import Data
from reprune.errors import InputError
from reprune.gate import robustness_conditions, serving_probe, slice_finder
from reprune.gate.disagreements import Disagreement
from reprune.gate.format_choice import Quantized
from reprune.gate.predictions import CANDIDATE, CHAMPION, DENSE, FLOAT, Answers, Runner
from reprune.gate.robustness_conditions import Condition
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.onnx.parity import Parity


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on.

    Attributes:
        metric: Name of the mean score.
        examples: Examples of the split.
        labels: Class of each example, ``[N]``; None where the task has none.
        slices: Named parts of the split, boolean ``[N]`` each.
        answers: By model: ``dense``, ``pruned``, ``champion`` where there is one, and ``float`` where the candidate is
            quantized: what it was before.
        disagreements: Examples on which the candidate changed its mind, worst first, a bounded number.
        size_bytes: Size of each ONNX file.
        sha256: Digest of each ONNX file.
        benchmarks: Timings, one for each target.
        parity: Differences at each hop from torch to what is served, by its name; None where there is no torch model.
        probe: How a fresh process fared with the candidate; None where it was not tried.
        quantized: What the candidate was quantized from; None where it is in float.
        conditions: Scores of dense and candidate on corrupted inputs and in production, by name.
        bundle_sha256: Digest of the ``bundle.json`` that the candidate was exported from; None where it came alone.
    """

    metric: str
    examples: int
    labels: np.ndarray | None
    slices: dict[str, np.ndarray]
    answers: dict[str, Answers]
    disagreements: list[Disagreement]
    size_bytes: dict[str, int]
    sha256: dict[str, str]
    benchmarks: Sequence[Benchmark] = ()
    parity: Mapping[str, Parity] | None = field(default_factory=dict)
    probe: serving_probe.Probe | None = None
    quantized: Quantized | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    bundle_sha256: str | None = None


def collect(
    evaluation: Evaluation,
    *,
    dense: str | Path,
    candidate: str | Path,
    champion: str | Path | None = None,
    benchmarks: Sequence[Benchmark] = (),
    parity: Mapping[str, Parity] | None = None,
    quantized: Quantized | None = None,
    recording: str | Path | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
    data: Data | None = None,
    split: str = "test",
    bundle_sha256: str | None = None,
) -> Evidence:
    """Run the ONNX files over a split, all of them on each batch, and gather what the gate judges by.

    Memory grows with the number of examples by a few numbers each; outputs are never kept.

    Args:
        evaluation: Names data, task and targets; the models run on the first target.
        dense: ONNX file of the dense model.
        candidate: ONNX file of the pruned model.
        champion: ONNX file of the present champion.
        benchmarks: What was timed, with the candidate as ``pruned``.
        parity: What was compared with torch, by the name of the hop; None where the files came without a torch model.
        quantized: What the candidate was quantized from, where it was.
        recording: Inputs and answers written by `reprune.gate.serving_probe.record`; by default the candidate's own
        first
            answers are recorded.
        slices: Further named parts of the split, boolean ``[N]`` each.
        data: The evaluation's data, where it is loaded already.
        split: The split to run over.
        bundle_sha256: Digest of the ``bundle.json`` that the candidate was exported from.

    Raises:
        InputError: A file is missing, refused by the runtime, or does not fit the data.
    """
    paths = {DENSE: Path(dense), CANDIDATE: Path(candidate)} | ({CHAMPION: Path(champion)} if champion else {})
    if quantized:
        paths[FLOAT] = quantized.float_file
    target = evaluation.target[0]
    data = data or Data(evaluation)
    scored = scoring.of(evaluation, data, split=split)
    runner = Runner(paths, target, scored)
    for inputs, targets in data.arrays(split):
        runner.add(inputs, targets)
    answers, labels = runner.answers(), runner.labels()
    parts = _classes(labels) | _uncertain(answers[DENSE]) | _named(evaluation, data, split) | dict(slices or {})
    if evaluation.gate.slices != "off":
        parts |= slice_finder.find(
            runner.features(),
            answers[DENSE].scores,
            smallest=evaluation.gate.minimum_examples,
            seed=evaluation.seed,
        )
    return Evidence(
        metric=scored.metric,
        examples=len(answers[DENSE].scores),
        labels=labels,
        slices=parts,
        answers=answers,
        disagreements=runner.gallery.worst(),
        size_bytes={name: _size(path) for name, path in paths.items()},
        sha256={name: hashing.of_file(path) for name, path in paths.items()},
        benchmarks=tuple(benchmarks),
        parity=parity,
        probe=serving_probe.probe(paths[CANDIDATE], target, recording=recording, examples=runner.first),
        conditions=robustness_conditions.gather(runner, data, split, seed=evaluation.seed)
        if evaluation.gate.robustness != "off"
        else {},
        quantized=quantized,
        bundle_sha256=bundle_sha256,
    )


def _classes(labels: np.ndarray | None) -> dict[str, np.ndarray]:
    return {} if labels is None else {f"class {value}": labels == value for value in np.unique(labels)}


def _uncertain(dense: Answers) -> dict[str, np.ndarray]:
    """Return the quarter that the dense model is least sure of."""
    if dense.confidence is None or len(dense.confidence) < 4:
        return {}
    return {"least certain quarter": dense.confidence <= np.quantile(dense.confidence, 0.25)}


def _named(evaluation: Evaluation, data: Data, split: str) -> dict[str, np.ndarray]:
    """Return the slices that the workload's own function finds in the split."""
    if evaluation.slices is None:
        return {}
    examples = data.split(split)
    found = entry_points.call(evaluation.slices, examples, key="slices")
    remedy = f"Return a dict of names to boolean masks, one entry an example of {split}."
    if not isinstance(found, Mapping):
        raise InputError(f"slices: {evaluation.slices} returned a {type(found).__name__}, not a dict.", remedy)
    masks: dict[str, np.ndarray] = {str(name): np.asarray(mask) for name, mask in found.items()}
    for name, mask in masks.items():
        if mask.dtype != bool or mask.shape != (len(examples),):  # type: ignore[arg-type]  # checked when loaded
            raise InputError(
                f"slices: {name!r} is {mask.dtype} {list(mask.shape)}, not bool [{len(examples)}].",  # type: ignore[arg-type]
                remedy,
            )
    return masks


def _size(path: Path) -> int:
    """Return the size of an ONNX file, with its weights where they lie beside it."""
    beside = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)
