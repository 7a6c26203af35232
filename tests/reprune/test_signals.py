"""Signals are what torch makes of the same outputs, and need no torch."""

import numpy as np
import pytest
import torch

from reprune.data import signals
from reprune.errors import InputError


@pytest.mark.parametrize("scale", [1, 1000])
def test_the_class_and_its_probability(scale):
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * scale
    found = signals.find("classification")(logits.numpy())
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    np.testing.assert_array_equal(found["predicted_class"], predicted)
    np.testing.assert_allclose(found["confidence"], confidence, rtol=1e-6)


def test_the_mean_probability_of_tokens():
    logits = torch.randn(5, 4, 9, generator=torch.Generator().manual_seed(0))
    expected = logits.softmax(dim=-1).amax(dim=-1).mean(dim=1)
    np.testing.assert_allclose(signals.find("language-modeling")(logits.numpy())["confidence"], expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
def test_values_are_averaged_over_an_example(shape):
    outputs = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    expected = outputs.reshape(6, -1).mean(axis=1)
    np.testing.assert_array_equal(signals.find("regression")(outputs)["predicted_value"], expected)


def test_a_task_of_one_s_own_brings_its_signals(tmp_path, monkeypatch):
    methods = "".join(f"    def {name}(self, outputs, targets): ...\n" for name in ("loss", "score", "check"))
    own = f"class Own:\n    metric = 'm'\n{methods}    def signals(self, outputs): return {{'first': outputs[:, 0]}}\n"
    (tmp_path / "tasks_of_mine.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    assert signals.find("tasks_of_mine:Own")(np.eye(2))["first"].tolist() == [1, 0]
    with pytest.raises(InputError, match="no module 'nowhere'"):
        signals.find("nowhere:Task")
