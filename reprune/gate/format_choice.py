"""Whether a candidate is served quantized or in float: what the benchmark of both says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reprune import formatting
from reprune.gate.predictions import CANDIDATE, FLOAT
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.latency.bootstrap import Estimate, quotient
from reprune.inference.onnx.parity import Parity


@dataclass(frozen=True)
class Quantized:
    """Where a quantized candidate comes from.

    Attributes:
        format: What it was quantized to, such as ``int8``.
        float_file: The ONNX file in float that it was made from.
        hop: Differences between the two, by the name of the hop.
    """

    format: str
    float_file: Path
    hop: Mapping[str, Parity]


def pays(benchmarks: Sequence[Benchmark], name: str) -> tuple[bool, str]:
    """Return whether a quantized candidate is faster than the float one on every target, and the same in words.

    The ratio of the two is that of their ratios to dense, with an interval as if those were independent; it must lie
    below what two identical models show. In doubt float is kept, since the other loses accuracy for nothing.

    Args:
        benchmarks: Timings on each target, with the float candidate as ``pruned``.
        name: What the quantized one is called there.
    """
    found = [(run, _ratio(run, name)) for run in benchmarks]
    slower = [(run, ratio) for run, ratio in found if ratio.high >= run.noise.low]
    run, ratio = max(slower or found, key=lambda it: it[1].value)
    gain = ratio.inverse()
    interval = f"{formatting.times(gain.low)} to {formatting.times(gain.high)}"
    said = f"{formatting.times(gain.value)} ({interval}) as fast as float"
    said += f" on {run.target.label()}"
    if slower:
        return False, f"float is served: {name} is {said}, which is no gain that can be told"
    return True, f"{name} is served: {said}"


def as_candidate(run: Benchmark, name: str) -> Benchmark:
    """Return a benchmark in which the quantized file is the candidate, and the float one beside it is ``float``."""
    names = {CANDIDATE: FLOAT, name: CANDIDATE}
    return run.model_copy(update={"models": {names.get(it, it): timing for it, timing in run.models.items()}})


def _ratio(run: Benchmark, name: str) -> Estimate:
    return quotient(run.models[name].latency_ratio, run.models[CANDIDATE].latency_ratio)
