import onnxruntime
import pytest
import torch
from torch import nn

from reprune.errors import InputError
from reprune.inference import model_resolver
from reprune.inference.model_resolver import onnx_file
from reprune.pruning import bundle
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store
from reprune.workloads.digits.data import load

ENTRY_POINTS = {"data": f"{load.__module__}:{load.__name__}"}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, image):
        return self.layer(image.flatten(1))


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def takes(path):
    (only,) = onnxruntime.InferenceSession(path).get_inputs()
    return only.name, only.shape[1:]


def test_a_bundle_is_exported_as_the_data_that_it_was_made_with(tmp_path, store):
    bundle.save(Small(), tmp_path / "b", entry_points=ENTRY_POINTS)
    assert takes(onnx_file(str(tmp_path / "b"), store, tmp_path / "scratch", allow=[__name__])) == ("input", [1, 8, 8])


def test_a_bundle_that_does_not_tell_its_data_is_exported_at_the_shape_given(tmp_path, store):
    bundle.save(Small(), tmp_path / "b")
    with pytest.raises(InputError, match=r"bundle without model\.onnx") as caught:
        onnx_file(str(tmp_path / "b"), store, tmp_path / "scratch")
    assert "--input" in caught.value.remedy
    shapes = {"input": (1, 64)}
    assert takes(onnx_file(str(tmp_path / "b"), store, tmp_path / "scratch", shapes=shapes, allow=[__name__])) == (
        "input",
        [64],
    )


def test_the_champion_and_other_versions_of_a_workload_are_fetched(tmp_path, store):
    registry = Registry(store, "digits")
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text(name)
    old, new = (registry.publish(tmp_path / name) for name in ("old", "new"))
    with pytest.raises(InputError, match="no champion"):
        onnx_file("digits", store, tmp_path / "scratch")
    registry.promote(new.id, reason="better", expected=None)
    assert onnx_file("digits", store, tmp_path / "scratch").read_text() == "new"
    assert onnx_file(f"digits@{old.short}", store, tmp_path / "scratch").read_text() == "old"
    with pytest.raises(InputError, match="no version"):
        onnx_file("digits@0000000", store, tmp_path / "scratch")


def test_a_folder_without_a_model_hides_no_workload_of_its_name(tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    with pytest.raises(InputError, match="The folder shop holds neither"):
        onnx_file("shop", store, tmp_path / "scratch")
    registry = Registry(store, "shop")
    (tmp_path / "shop" / "model.py").touch()
    (tmp_path / "version").mkdir()
    (tmp_path / "version" / "model.onnx").write_text("champion")
    registry.promote(registry.publish(tmp_path / "version").id, reason="first", expected=None)
    assert onnx_file("shop", store, tmp_path / "scratch").read_text() == "champion"


def test_a_bundle_is_known_by_the_file_that_bundles_have():
    assert model_resolver.DESCRIPTION == bundle.DESCRIPTION


def test_files_and_folders_with_a_graph_are_taken_as_they_are(tmp_path, store):
    (tmp_path / "model.onnx").touch()
    assert onnx_file(str(tmp_path / "model.onnx"), store, tmp_path) == tmp_path / "model.onnx"
    assert onnx_file(str(tmp_path), store, tmp_path) == tmp_path / "model.onnx"
    torch.save({}, tmp_path / "weights.pt")
    assert onnx_file(str(tmp_path / "weights.pt"), store, tmp_path).suffix == ".pt", "the runtime says what it is not"
