"""Loss and score of arrays are what torch makes of the same numbers."""

import numpy as np
import pytest
import torch

from reprune.config.workload import Evaluation
from reprune.data import scoring, tasks
from reprune.data.datasets import Data
from reprune.errors import InputError

RANDOM = torch.Generator().manual_seed(0)


def examples(name, scale=1.0):
    if name == "language-modeling":
        targets = torch.randint(0, 7, (20, 5), generator=RANDOM)
        targets[3], targets[4, 2:] = tasks.IGNORED_TOKEN, tasks.IGNORED_TOKEN
        return torch.randn(20, 5, 7, generator=RANDOM) * scale, targets
    if name == "regression":
        return torch.randn(20, 3, generator=RANDOM) * scale, torch.randn(20, 3, generator=RANDOM).double()
    return torch.randn(20, 7, generator=RANDOM) * scale, torch.randint(0, 7, (20,), generator=RANDOM)


def scored(task, **splits):
    evaluation = Evaluation(name="mine", splits=splits, task=task)
    return scoring.of(evaluation, Data(evaluation))


def saved(path, targets):
    np.savez(path, inputs=np.zeros((len(targets), 1), np.float32), targets=targets)
    return str(path)


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("name", ["classification", "regression", "language-modeling"])
def test_it_is_what_torch_says(tmp_path, name, scale):
    outputs, targets = examples(name, scale)
    trained = tasks.find(name)
    found = scored(name, test=saved(tmp_path / "test.npz", targets.numpy()))
    if name == "regression":
        trained.variance = found.variance
        assert found.variance == pytest.approx(float(targets.var(dim=0, correction=0).mean()))
    found.check(outputs.numpy(), targets.numpy())
    for quantity in ("loss", "score"):
        expected = getattr(trained, quantity)(outputs, targets).numpy()
        actual = getattr(found, quantity)(outputs.numpy(), targets.numpy())
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    assert found.metric == trained.metric


def test_the_brier_score_is_the_distance_of_the_probabilities_from_the_label():
    logits, targets = examples("classification")
    off = logits.double().softmax(dim=1) - torch.nn.functional.one_hot(targets, 7)
    np.testing.assert_allclose(scoring.brier(logits.numpy(), targets.numpy()), off.square().sum(dim=1).numpy())


def test_answers_without_probabilities_have_no_finite_loss():
    outputs = np.array([[np.inf, 1.0], [np.nan, 1.0]])
    targets = np.array([0, 1])
    assert not np.isfinite(scoring.Classification().loss(outputs, targets)).any()
    assert not np.isfinite(scoring.brier(outputs, targets)).any()


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "told"),
    [
        ("classification", np.zeros((2, 3)), np.array([0, 3]), "label 3 is out of range"),
        ("classification", np.zeros((2, 3)), np.zeros(2), "targets are float64"),
        ("classification", np.zeros(2), np.array([0, 1]), r"returns float64 \[2\]"),
        ("classification", (np.zeros(2),), np.array([0, 1]), "returns a tuple"),
        ("language-modeling", np.zeros((2, 4, 3)), np.full((2, 4), 9), "token 9 is out of range"),
    ],
)
def test_arrays_that_do_not_belong_together_are_told(name, outputs, targets, told):
    with pytest.raises(InputError, match=told):
        scored(name).check(outputs, targets)


def test_targets_that_are_all_the_same_have_no_r_squared(tmp_path):
    with pytest.raises(InputError, match="all targets of the test split are the same"):
        scored("regression", test=saved(tmp_path / "test.npz", np.ones(4)))


def test_a_task_of_one_s_own_gets_tensors(tmp_path, monkeypatch):
    (tmp_path / "tasks_in_torch.py").write_text(
        "import torch\nfrom reprune.data.tasks import Classification\n"
        "class Softer(Classification):\n"
        "    metric = 'softness'\n"
        "    def score(self, outputs, targets): return torch.softmax(outputs, dim=1)[:, 0]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    logits, targets = examples("classification")
    found = scored("tasks_in_torch:Softer")
    found.check(logits.numpy(), targets.numpy())
    assert found.metric == "softness" and found.class_logits
    np.testing.assert_allclose(found.score(logits.numpy(), targets.numpy()), logits.softmax(dim=1)[:, 0].numpy())
