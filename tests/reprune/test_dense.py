import pytest
import torch

from reprune.config.loading import parse
from reprune.errors import InputError
from reprune.planning import dense_model
from reprune.pruning import bundle
from reprune.storage.uri import open_store

WORKLOAD = {
    "name": "cancer",
    "model": "reprune.workloads.breast_cancer.model:build",
    "data": "reprune.workloads.breast_cancer.data:load",
}


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def trained(folder, seed=1, factory=WORKLOAD["model"]):
    torch.manual_seed(seed)
    model = bundle.build(WORKLOAD["model"], key="model")
    bundle.save(model, folder, factory=factory)
    return model


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_what_the_last_run_kept_is_found(store, tmp_path):
    for seed in (1, 2):
        model = trained(tmp_path / "dense", seed)
        dense_model.keep(store, "cancer", tmp_path / "dense")
    found = dense_model.find(parse(WORKLOAD, origin="test"), store)
    assert found.trained and not found.warning and not found.model.training
    assert same(found.model, model)
    assert len(list(store.list("dense/cancer/"))) == 2, "the run before is not kept"


def test_without_a_run_the_model_is_untrained_and_says_so(store):
    first, second = (dense_model.find(parse(WORKLOAD, origin="test"), store) for _ in range(2))
    assert not first.trained and "no run has trained it yet" in first.warning and "reprune run cancer" in first.warning
    assert same(first.model, second.model)


def test_the_weights_of_the_workload_come_first(store, tmp_path):
    trained(tmp_path / "kept")
    dense_model.keep(store, "cancer", tmp_path / "kept")
    brought = trained(tmp_path / "brought", seed=5)
    workload = parse(WORKLOAD | {"weights": str(tmp_path / "brought" / bundle.WEIGHTS)}, origin="test")
    found = dense_model.find(workload, store)
    assert found.trained and same(found.model, brought) and bundle.WEIGHTS in found.origin


def test_weights_that_are_not_finite_are_refused(store, tmp_path):
    model = trained(tmp_path / "brought")
    torch.nn.init.constant_(next(model.parameters()), float("nan"))
    bundle.save(model, tmp_path / "brought", factory=WORKLOAD["model"])
    with pytest.raises(InputError, match="not finite"):
        dense_model.find(
            parse(WORKLOAD | {"weights": str(tmp_path / "brought" / bundle.WEIGHTS)}, origin="test"), store
        )


def test_what_was_kept_of_another_model_is_not_used_and_that_is_told(store, tmp_path, monkeypatch):
    (tmp_path / "other.py").write_text("from reprune.workloads.breast_cancer.model import build\n")
    monkeypatch.syspath_prepend(tmp_path)
    trained(tmp_path / "dense", factory="other:build")
    dense_model.keep(store, "cancer", tmp_path / "dense")
    found = dense_model.find(parse(WORKLOAD, origin="test"), store)
    assert not found.trained and "other:build" in found.warning


def test_a_damaged_one_is_not_used_and_that_is_told(store, tmp_path):
    trained(tmp_path / "dense")
    dense_model.keep(store, "cancer", tmp_path / "dense")
    (weights,) = (key for key in store.list("dense/cancer/") if key.endswith(".safetensors"))
    store.put(weights, b"nonsense")
    found = dense_model.find(parse(WORKLOAD, origin="test"), store)
    assert not found.trained and "damaged" in found.warning
