"""Small real evidence: a dense classifier and one that has lost a class, on made-up pictures."""

import numpy as np
import pytest

from reprune.config.gate import GatePolicy
from reprune.config.sections import Budget
from reprune.gate.disagreements import Disagreement
from reprune.gate.evaluate import judge
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import Answers
from reprune.gate.serving_probe import Probe
from reprune.gate.verdict import Verdict
from reprune.inference.onnx.parity import Parity


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    confidence = rng.uniform(0.5, 1, 400)
    right = rng.random(400) < confidence

    def answers(correct: np.ndarray) -> Answers:
        predicted = np.where(correct, labels, (labels + 1) % 4)
        return Answers(
            correct.astype(float), 1 - confidence, confidence, predicted, (correct != right).astype(float), 0
        )

    worse = right.copy()
    worse[np.flatnonzero(labels == 2)[:20]] = False
    changed = np.flatnonzero(right != worse)
    return Evidence(
        metric="accuracy",
        examples=400,
        labels=labels,
        slices={f"class {i}": labels == i for i in range(4)},
        answers={"dense": answers(right), "pruned": answers(worse)},
        disagreements=[Disagreement(int(i), 2, 2, 3, 0.5, rng.random((1, 8, 8)).astype("f")) for i in changed],
        size_bytes={"dense": 2_000_000, "pruned": 500_000},
        sha256={"dense": "0" * 64, "pruned": "1" * 64},
        parity={
            "<torch> & ONNX": Parity(
                max_abs_error=1e-6, mean_abs_error=1e-7, output_scale=5, examples=400, argmax_agreement=1
            )
        },
        probe=Probe(threads=1, examples=8, max_abs_error=0.0, output_scale=5.0),
    )


@pytest.fixture(scope="session")
def verdict(evidence: Evidence) -> Verdict:
    return judge(
        evidence, GatePolicy(latency="off", tail_latency="off", extreme_latency="off"), Budget(accuracy_drop=0.01)
    )
