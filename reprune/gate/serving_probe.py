"""Whether what is served works: a fresh process opens the ONNX file and repeats recorded answers."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from reprune.config.target import Target
from reprune.errors import InputError
from reprune.inference.session import open_session

TIMEOUT_SECONDS = 120.0
RELATIVE_ERROR = 1e-4
"""Difference of the same file's answers, relative to the largest: kernels may differ with the batch, results not."""

QUANTIZED_ERROR = 0.05
"""The same for a quantized file: on another processor a value halfway between two levels may round to the other one."""

_QUANTIZED = {"QuantizeLinear", "DynamicQuantizeLinear", "MatMulNBits"}


class Probe(BaseModel):
    """How a fresh process fared with the file.

    Attributes:
        threads: Threads it was given, those of the target.
        examples: Recorded examples that it was asked.
        max_abs_error: Largest difference from the recorded answers; None where it gave none.
        output_scale: Largest recorded answer, to judge the difference by.
        problem: Why it gave no answer; empty where it did.
        relative_error: Largest difference that is let pass, relative to the largest recorded answer.
    """

    model_config = ConfigDict(frozen=True)

    threads: int
    examples: int
    max_abs_error: float | None
    output_scale: float
    problem: str = ""
    relative_error: float = RELATIVE_ERROR

    @property
    def answers(self) -> bool:
        """Whether the file was opened and repeated the recorded answers."""
        return self.max_abs_error is not None and self.max_abs_error <= self.relative_error * max(
            self.output_scale, 1.0
        )


def record(path: str | Path, inputs: Mapping[str, np.ndarray], outputs: Sequence[np.ndarray]) -> None:
    """Keep inputs and the answers to them, as ``.npz``.

    Args:
        path: The file to write.
        inputs: Inputs by the names of the ONNX graph, batch first.
        outputs: The model's outputs, in the graph's order.
    """
    arrays = {f"input:{name}": value for name, value in inputs.items()}
    arrays |= {f"output:{place:03d}": value for place, value in enumerate(outputs)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def replay(path: str | Path) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Return the inputs and outputs that `record` kept.

    Raises:
        InputError: The file is not such a recording.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            inputs = {name.partition(":")[2]: file[name] for name in file.files if name.startswith("input:")}
            outputs = [file[name] for name in sorted(file.files) if name.startswith("output:")]
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a recording of requests: {error}.", "Write it with reprune.gate.serving_probe.record."
        ) from None
    if not inputs or not outputs:
        raise InputError(f"{path} holds no recorded requests.", "Write it with reprune.gate.serving_probe.record.")
    return inputs, outputs


def probe(
    model: str | Path,
    target: Target,
    *,
    recording: str | Path | None = None,
    examples: Mapping[str, np.ndarray] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Probe:
    """Let a fresh process open a file and answer.

    Args:
        model: The ONNX file.
        target: Where it is served; the process gets its provider and threads.
        recording: Requests with their answers; by default ``examples`` are answered here first.
        examples: Inputs by name, to be recorded here and now.
        timeout_seconds: Longest that the process may take.
    """
    with tempfile.TemporaryDirectory(prefix="reprune-probe-") as folder:
        if recording is None:
            assert examples, "a probe needs a recording, or examples to record"
            recording = Path(folder) / "recording.npz"
            record(recording, examples, open_session(model, target).run(None, dict(examples)))
        inputs, outputs = replay(recording)
        request: dict[str, object] = {
            "model": os.path.abspath(model),
            "target": target.model_dump(),
            "recording": os.path.abspath(recording),
        }
        told = _ask(request, timeout_seconds)
    return Probe(
        threads=target.threads,
        examples=len(next(iter(inputs.values()))),
        output_scale=max((float(np.max(np.abs(value), initial=0.0)) for value in outputs), default=0.0),
        relative_error=QUANTIZED_ERROR if _quantized(model) else RELATIVE_ERROR,
        **told,
    )


def _quantized(model: str | Path) -> bool:
    """Return whether a file computes in fewer bits; one that is no ONNX has told so already."""
    import onnx

    try:
        graph = onnx.load(os.fspath(model), load_external_data=False).graph
    except Exception:  # protobuf's errors share no base class of their own
        return False
    return any(node.op_type in _QUANTIZED for node in graph.node)


def _ask(request: dict[str, object], timeout_seconds: float) -> dict[str, object]:
    """Run this module in a fresh process, with isolated imports: nothing of ours is loaded there yet."""
    command = [sys.executable, "-P", "-m", "reprune.gate.serving_probe"]
    try:
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"max_abs_error": None, "problem": f"no answer within {timeout_seconds:.0f} s"}
    if done.returncode != 0 or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        return {"max_abs_error": None, "problem": f"the process ended with code {done.returncode}: {last}"}
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _answer(request: dict[str, object]) -> dict[str, object]:
    """Open the file, answer the recorded requests, and compare; runs in the fresh process."""
    inputs, expected = replay(str(request["recording"]))
    try:
        session = open_session(str(request["model"]), Target.model_validate(request["target"]))
        actual = session.run(None, inputs)
    except Exception as error:  # whatever it is, it is the finding
        return {"max_abs_error": None, "problem": " ".join(str(error).split())[:500]}
    if [value.shape for value in actual] != [value.shape for value in expected]:
        shapes = f"{[value.shape for value in actual]} in place of {[value.shape for value in expected]}"
        return {"max_abs_error": None, "problem": f"answers have shapes {shapes}"}
    errors = [_largest_error(left, right) for left, right in zip(expected, actual, strict=True)]
    if not np.isfinite(errors).all():
        return {"max_abs_error": None, "problem": "answers hold NaN where the recording does not"}
    return {"max_abs_error": max(errors), "problem": ""}


def _largest_error(expected: np.ndarray, actual: np.ndarray) -> float:
    """Return the largest difference, infinite where one side alone is not a number."""
    difference = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    difference[(expected == actual) | (np.isnan(expected) & np.isnan(actual))] = 0.0
    return float(np.nan_to_num(np.max(difference, initial=0.0), nan=np.inf))


if __name__ == "__main__":
    print(json.dumps(_answer(json.load(sys.stdin))))
