"""The gate by itself, as a CI job runs it: any two or three models, data, and what they are judged by."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reprune.config import entry_points
from reprune.config.workload import Evaluation, Workload
from reprune.data.datasets import Data
from reprune.gate import evidence as gathering
from reprune.gate.evaluate import judge
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE, CHAMPION, DENSE, feed_for
from reprune.gate.verdict import Verdict
from reprune.inference.latency import benchmark
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.model_resolver import DESCRIPTION, onnx_file
from reprune.inference.onnx.parity import Parity, compare
from reprune.inference.session import open_session
from reprune.storage.base import Store

PARITY_EXAMPLES = 512
"""Examples on which a bundle's torch model is compared with its ONNX file."""

Progress = Callable[[str, float | None], None]
"""Called with what is being done, and the share of it that is done."""


@dataclass(frozen=True)
class Judgement:
    """A verdict with all that it rests on.

    Attributes:
        verdict: What the gate says.
        evidence: What was measured.
        benchmarks: Timings, one for each target.
        recordings: Raw samples of each benchmark, ``.npz``.
    """

    verdict: Verdict
    evidence: Evidence
    benchmarks: Sequence[Benchmark]
    recordings: Sequence[Path]


def gate(
    evaluation: Evaluation,
    *,
    dense: str,
    candidate: str,
    champion: str | None = None,
    store: Store,
    scratch: Path,
    seconds: float = 8.0,
    allow: Iterable[str] = (),
    progress: Progress = lambda doing, share: None,
) -> Judgement:
    """Time the models in turns on every target, let them answer the test split, and judge.

    Args:
        evaluation: Data, task, targets, budget and policy.
        dense: What the candidate is measured against: an ONNX file, a folder with one, a bundle, or a workload of the
            store with or without ``@VERSION``.
        candidate: What is to be judged, named likewise.
        champion: What serves now, if anything, named likewise.
        store: Where workloads are looked up.
        scratch: A folder for what is fetched, exported and recorded.
        seconds: Time for the interleaved rounds of one target.
        allow: Packages and entry points that may build a bundle's model, besides the workload's own, as in
            `reprune.load`.
        progress: Told what goes on.

    Raises:
        InputError: A model, the data or a target cannot be used.
    """
    entry_points.use_code(evaluation.code)
    named = {DENSE: dense, CANDIDATE: candidate} | ({CHAMPION: champion} if champion else {})
    for target in evaluation.target:
        target.check()
    data = Data(evaluation)
    allowed = (*allow, evaluation.model) if isinstance(evaluation, Workload) else tuple(allow)
    example = data.example(split="test") if _bundles(named) else None
    files = {}
    for name, reference in named.items():
        progress(f"reading {name}", None)
        files[name] = onnx_file(reference, store, scratch / name, example=example, allow=allowed)
    benchmarks, recordings = _timed(evaluation, files, data, scratch, seconds, progress)
    progress("answering the test split", None)
    found = gathering.collect(
        evaluation,
        dense=files[DENSE],
        candidate=files[CANDIDATE],
        champion=files.get(CHAMPION),
        benchmarks=benchmarks,
        parity=_parity(named, files, data, allowed),
        data=data,
    )
    return Judgement(judge(found, evaluation.gate, evaluation.budget), found, benchmarks, recordings)


def _timed(
    evaluation: Evaluation, files: dict[str, Path], data: Data, scratch: Path, seconds: float, progress: Progress
) -> tuple[list[Benchmark], list[Path]]:
    benchmarks, recordings = [], []
    for target in evaluation.target:
        inputs, _ = next(data.arrays("test", batch_size=target.batch_size))
        recordings.append(scratch / f"samples-{target.slug()}.npz")
        doing = f"timing on {target.label()}"
        timed = benchmark.compare(
            files,
            feed_for(open_session(files[CANDIDATE], target), inputs, name=CANDIDATE),
            target,
            seconds=seconds,
            seed=evaluation.seed,
            samples=recordings[-1],
            progress=lambda share, doing=doing: progress(doing, share),  # type: ignore[misc]  # bound now, not later
        )
        benchmarks.append(timed)
    return benchmarks, recordings


def _parity(
    named: dict[str, str], files: dict[str, Path], data: Data, allowed: tuple[str, ...]
) -> dict[str, Parity] | None:
    """Compare each bundle's torch model with the ONNX file that stands for it; None where no model came as a bundle."""
    bundles = _bundles(named)
    if not bundles:
        return None
    from reprune.pruning import bundle

    inputs = [batch for batch, _ in data.batches("test", limit=PARITY_EXAMPLES)]
    return {
        f"{name}: torch → ONNX": compare(bundle.load(folder, allow=allowed), files[name], inputs)
        for name, folder in bundles.items()
    }


def _bundles(named: dict[str, str]) -> dict[str, Path]:
    """Return the models that came as bundles, which only torch can read."""
    folders = {name: Path(reference) for name, reference in named.items()}
    return {name: folder for name, folder in folders.items() if (folder / DESCRIPTION).is_file()}
