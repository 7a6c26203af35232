"""The probe starts a real process, with a real file and with ones that are wrong."""

from pathlib import Path

import numpy as np
import pytest

from reprune.config.target import Target
from reprune.errors import InputError
from reprune.gate import serving_probe
from reprune.inference.session import open_session

EXAMPLES = {"input": np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)}


def test_a_fresh_process_repeats_the_answers(dense: Path) -> None:
    found = serving_probe.probe(dense, Target(), examples=EXAMPLES)
    assert found.answers and found.examples == 3 and found.threads == 1 and not found.problem


def test_a_file_that_is_not_the_recorded_model_is_caught(dense: Path, tmp_path: Path) -> None:
    recording = tmp_path / "recording.npz"
    outputs = open_session(dense, Target()).run(None, EXAMPLES)
    serving_probe.record(recording, EXAMPLES, [outputs[0] + 0.1])
    found = serving_probe.probe(dense, Target(), recording=recording)
    assert not found.answers and found.max_abs_error == pytest.approx(0.1, abs=1e-3)


def test_a_nan_is_an_answer_that_differs(dense: Path, tmp_path: Path) -> None:
    outputs = open_session(dense, Target()).run(None, EXAMPLES)
    outputs[0][0, 0] = np.nan
    serving_probe.record(tmp_path / "recording.npz", EXAMPLES, outputs)
    assert not serving_probe.probe(dense, Target(), recording=tmp_path / "recording.npz").answers


def test_a_damaged_file_is_a_finding_with_its_reason(dense: Path, tmp_path: Path) -> None:
    serving_probe.record(tmp_path / "recording.npz", EXAMPLES, open_session(dense, Target()).run(None, EXAMPLES))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(dense.read_bytes()[:200])
    found = serving_probe.probe(damaged, Target(), recording=tmp_path / "recording.npz")
    assert not found.answers and "damaged.onnx" in found.problem


def test_a_recording_that_is_none_is_refused(tmp_path: Path, dense: Path) -> None:
    (tmp_path / "notes.txt").write_text("no requests")
    with pytest.raises(InputError, match="notes.txt is not a recording"):
        serving_probe.probe(dense, Target(), recording=tmp_path / "notes.txt")
