import math

import pytest
import torch

from reprune.config import loading
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.errors import InputError


def test_accuracy_of_classification_is_the_share_that_is_right():
    outputs = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 1.0]])
    assert tasks.find("classification").score(outputs, torch.tensor([0, 1, 1])).tolist() == [1, 1, 0]


def test_the_mean_score_of_regression_is_r_squared():
    targets = torch.tensor([1.0, 2.0, 3.0, 6.0])
    outputs = torch.tensor([1.5, 2.0, 2.5, 5.0])
    task = tasks.Regression(variance=float(targets.var(correction=0)))
    expected = 1 - ((targets - outputs) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()
    assert task.score(outputs, targets).mean().item() == pytest.approx(expected.item())


def test_tokens_that_are_left_out_count_for_nothing():
    task = tasks.find("language-modeling")
    outputs = torch.zeros(1, 4, 3)
    outputs[0, :, 1] = 10.0
    targets = torch.tensor([[1, 1, tasks.IGNORED_TOKEN, 0]])
    assert task.score(outputs, targets).item() == pytest.approx(2 / 3)
    uniform = task.loss(torch.zeros(1, 4, 3), targets)
    assert uniform.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("name", ["classification", "regression", "language-modeling"])
def test_losses_and_scores_keep_one_row_per_example(name):
    task = tasks.find(name)
    outputs, targets = {
        "classification": (torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])),
        "regression": (torch.randn(5, 2), torch.randn(5, 2)),
        "language-modeling": (torch.randn(5, 4, 3), torch.randint(0, 3, (5, 4))),
    }[name]
    task.check(outputs, targets)
    assert task.loss(outputs, targets).shape == task.score(outputs, targets).shape == (5,)
    assert all(signal.shape == (5,) for signal in task.signals(outputs.numpy()).values())


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "told"),
    [
        ("classification", torch.zeros(2, 3), torch.tensor([0, 3]), "label 3 is out of range"),
        ("classification", torch.zeros(2, 3), torch.tensor([0, -1]), "label -1 is out of range"),
        ("classification", torch.zeros(2, 3), torch.zeros(2), "one integer class per example"),
        ("classification", torch.zeros(2), torch.tensor([0, 1]), r"returns \[examples, classes\]"),
        ("classification", {"logits": 1}, torch.tensor([0, 1]), "returns a dict"),
        ("regression", torch.zeros(2, 3), torch.zeros(2, 2), "targets are float32"),
        ("language-modeling", torch.zeros(2, 4, 3), torch.zeros(2, 3).long(), "one next token per position"),
        ("language-modeling", torch.zeros(2, 4, 3), torch.full((2, 4), 9), "token 9 is out of range"),
    ],
)
def test_outputs_and_targets_that_do_not_belong_together_are_told(name, outputs, targets, told):
    with pytest.raises(InputError, match=told):
        tasks.find(name).check(outputs, targets)


def test_a_task_of_one_s_own_must_be_one(tmp_path, monkeypatch):
    (tmp_path / "own_tasks.py").write_text("class Half:\n    metric = 'half'\n\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="own_tasks:Half"):
        tasks.find("own_tasks:Half")


def test_the_regression_of_a_workload_knows_the_variance_of_its_test_split(tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def load(split):\n    y = torch.tensor([0.0, 4.0]) if split == 'test' else torch.zeros(2)\n"
        "    return TensorDataset(torch.zeros(2, 1), y)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    raw = {"name": "mine", "model": "m:m", "data": "own_data:load", "task": "regression"}
    loaded = loading.parse(raw, origin="test")
    assert tasks.of(loaded, Data(loaded)).score(torch.tensor([0.0]), torch.tensor([2.0])).item() == pytest.approx(0.0)
