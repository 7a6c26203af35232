import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from reprune.data import signals
from reprune.data.datasets import Data
from reprune.drift.dataset import DatasetExamples, freeze_reference
from reprune.drift.decision import decide
from reprune.drift.features import sample
from reprune.drift.reference import Reference
from reprune.errors import IntegrityError
from reprune.hashing import of_file


def test_a_reference_comes_back_exactly_and_its_bytes_are_reproducible(champion, tmp_path):
    reference = champion.reference(slice(0, 200))
    for name in ("a", "b"):
        reference.save(tmp_path / name)
    loaded = Reference.load(tmp_path / "a")
    assert of_file(tmp_path / "a") == of_file(tmp_path / "b")
    assert loaded.model_sha256 == reference.model_sha256
    assert loaded.sample.columns == reference.sample.columns
    assert loaded.sample.shapes == {"input": "float32 [1, 8, 8]"}
    np.testing.assert_array_equal(loaded.sample.values, reference.sample.values)


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "foreign"])
def test_a_damaged_reference_is_told(champion, tmp_path, damage):
    path = tmp_path / "reference.safetensors"
    champion.reference(slice(0, 50)).save(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("not a reference")
    else:
        from safetensors.numpy import save_file

        save_file({"values": np.zeros((2, 2), dtype=np.float32)}, path)
    with pytest.raises(IntegrityError, match=r"reference\.safetensors"):
        Reference.load(path)


def test_a_sample_is_bounded_and_depends_on_the_seed_alone(champion):
    window = champion.window(slice(None))
    one, same, other = (
        sample(window, champion.model, champion.signals, limit=100, seed=seed, name="window") for seed in (1, 1, 2)
    )
    assert len(one) == 100
    np.testing.assert_array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)


def test_large_inputs_are_kept_as_summaries_alone(champion, tmp_path):
    from torch import nn

    from reprune.inference.onnx.export import export

    images = torch.rand(40, 3, 64, 64)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    export(model, images[:2], tmp_path / "model.onnx")
    window = DatasetExamples(TensorDataset(images, torch.zeros(40, dtype=torch.long)))
    found = sample(window, tmp_path / "model.onnx", champion.signals, limit=40, seed=0, name="window")
    names = [column.name for column in found.columns]
    assert len([name for name in names if name.startswith("input[")]) == 64
    assert "input channel 2 mean" in names and "input roughness" in names
    grid = found.values[:, [name == "input[0, 0]" for name in names]]
    np.testing.assert_allclose(grid[:, 0], images[:, :, :8, :8].mean(dim=(1, 2, 3)), rtol=1e-4)


def test_tokens_are_watched_by_position_and_as_bags(champion, tmp_path):
    from torch import nn

    from reprune.data.signals import language_modeling
    from reprune.inference.onnx.export import export

    tokens = torch.randint(0, 100, (40, 12), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 100))
    export(model, tokens[:2], tmp_path / "model.onnx")
    examples = DatasetExamples(TensorDataset(tokens, tokens))
    found = sample(examples, tmp_path / "model.onnx", language_modeling, limit=40, seed=0, name="window")
    by_name = {column.name: found.values[:, i] for i, column in enumerate(found.columns)}
    np.testing.assert_array_equal(by_name["input[3]"], tokens[:, 3])
    np.testing.assert_allclose(
        by_name["input tokens ≡ 5 (mod 64)"], ((tokens == 5) | (tokens == 69)).float().mean(dim=1), rtol=1e-4
    )
    assert "confidence" in by_name


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The shipped digits network with its first weights: enough to freeze a reference."""
    from reprune.config import entry_points, loading
    from reprune.inference.onnx.export import export

    torch.manual_seed(0)
    digits = loading.load("digits")
    model = entry_points.call(digits.model, key="model").eval()
    path = tmp_path_factory.mktemp("untrained") / "model.onnx"
    export(model, Data(digits).example(), path)
    return digits, path


def test_a_reference_is_frozen_from_what_the_model_has_not_seen(untrained):
    digits, path = untrained
    reference = freeze_reference(digits, path)
    data = Data(digits)
    assert len(reference.sample) == len(data.split("validation")) + len(data.split("test"))
    assert {column.group for column in reference.sample.columns} == {"inputs", "predictions", "embeddings", "labels"}
    assert reference.model_sha256 == of_file(path)


@pytest.mark.parametrize(("production", "action"), [("load", "skip"), ("rotated", "reprune")])
def test_the_shipped_digits_decide_as_the_story_goes(untrained, tmp_path, production, action):
    digits, path = untrained
    shutil.copy(path, tmp_path / "model.onnx")
    freeze_reference(digits, path).save(tmp_path / "reference.safetensors")
    where = {} if production == "load" else {"production": "reprune.workloads.digits.data:rotated"}
    window = DatasetExamples(Data(digits.replace(splits=where)).production())
    assert decide("1f3c09ab", tmp_path, window, signals.classification, digits.drift).action == action
