"""Evidence from real ONNX files, against the same quantities computed by hand in torch."""

import copy
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from reprune.config.loading import load, parse
from reprune.config.workload import Workload
from reprune.data.datasets import Data
from reprune.errors import InputError
from reprune.gate.evidence import collect
from reprune.inference.onnx.export import export


def test_scores_losses_and_disagreements_are_those_of_torch(
    workload: Workload, data: Data, trained, dense, as_onnx
) -> None:
    other = copy.deepcopy(trained)
    with torch.no_grad():
        other.classifier.bias[8] -= 3
    found = collect(workload, data=data, dense=dense, candidate=as_onnx(other, "less-eight"))
    inputs, labels = (torch.cat(parts) for parts in zip(*data.batches("test"), strict=True))
    with torch.no_grad():
        before, after = trained(inputs), other(inputs)
    assert found.examples == len(labels)
    assert (found.labels == labels.numpy()).all()
    assert (found.answers["pruned"].scores == (after.argmax(1) == labels).double().numpy()).all()
    expected = torch.nn.functional.cross_entropy(after, labels, reduction="none").numpy()
    assert found.answers["pruned"].losses == pytest.approx(expected, abs=1e-4)
    changed = (before.argmax(1) != after.argmax(1)).numpy()
    assert (found.answers["pruned"].changed == changed).all() and changed.any()
    harms = [it.harm for it in found.disagreements]
    assert harms == sorted(harms, reverse=True)
    assert len(found.disagreements) == min(24, changed.sum())
    worst = found.disagreements[0]
    assert changed[worst.index] and worst.label == labels[worst.index]
    assert (worst.image == inputs[worst.index].numpy()).all()


def test_slices_are_the_classes_and_the_uncertain_quarter(workload: Workload, data: Data, dense) -> None:
    found = collect(workload, data=data, dense=dense, candidate=dense, champion=dense)
    named = {name for name in found.slices if not name.startswith("where ")}
    assert named == {f"class {i}" for i in range(10)} | {"least certain quarter"}
    assert found.slices["least certain quarter"].mean() == pytest.approx(0.25, abs=0.01)
    assert set(found.answers) == {"dense", "pruned", "champion"}
    assert found.probe is not None and found.probe.answers
    assert found.size_bytes["dense"] == Path(dense).stat().st_size


def test_regression_scores_average_to_r_squared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines_for_the_gate.py").write_text(
        textwrap.dedent("""
        import torch
        from torch.utils.data import TensorDataset
        def model():
            torch.manual_seed(1)
            return torch.nn.Linear(5, 2)
        def data(split):
            torch.manual_seed(0)
            x = torch.randn(700, 5)
            return TensorDataset(x, torch.stack([3 + x[:, 0] * 2, x[:, 1] - 40], dim=1))
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    raw = {
        "name": "lines",
        "model": "lines_for_the_gate:model",
        "data": "lines_for_the_gate:data",
        "task": "regression",
    }
    workload = parse(raw, origin="test")
    import lines_for_the_gate as module

    model, (x, y) = module.model(), module.data("test").tensors
    export(model, x[:2], tmp_path / "model.onnx")
    found = collect(workload, dense=tmp_path / "model.onnx", candidate=tmp_path / "model.onnx")
    with torch.no_grad():
        expected = r2_score(y, model(x), multioutput="variance_weighted")
        assert found.answers["dense"].scores.mean() == pytest.approx(expected, rel=1e-4)
    assert found.labels is None and found.answers["pruned"].changed is None


def test_language_models_are_scored_by_sequence(tmp_path: Path) -> None:
    from reprune.pruning import bundle

    workload = load("stdlib-text")
    data = Data(workload)
    torch.manual_seed(0)
    model = bundle.build(workload.model, key="model").eval()
    export(model, data.example(), tmp_path / "model.onnx")
    found = collect(
        workload, data=data, dense=tmp_path / "model.onnx", candidate=tmp_path / "model.onnx", split="validation"
    )
    assert found.answers["dense"].scores.shape == found.answers["pruned"].changed.shape == (found.examples,)
    assert (found.answers["pruned"].changed == 0).all()
    inputs, targets = next(data.batches("validation"))
    with torch.no_grad():
        expected = (model(inputs).argmax(-1) == targets).double().mean(1).numpy()
    assert np.abs(found.answers["dense"].scores[: len(expected)] - expected).max() < 0.05


def test_a_model_of_other_inputs_is_refused_in_words(workload: Workload, data: Data, dense, tmp_path: Path) -> None:
    export(torch.nn.Bilinear(3, 4, 10), (torch.randn(2, 3), torch.randn(2, 4)), tmp_path / "two.onnx")
    with pytest.raises(InputError, match="pruned model takes 2 inputs"):
        collect(workload, data=data, dense=dense, candidate=tmp_path / "two.onnx")
