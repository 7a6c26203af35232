import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from reprune.config import loading
from reprune.data.datasets import Data, count, tensors
from reprune.data.model_io import call
from reprune.errors import InputError

MODULE = """
import numpy
import torch
from torch.utils.data import IterableDataset, TensorDataset

def load(split):
    sizes = {"train": 10, "validation": 4, "test": 6}
    return TensorDataset(torch.arange(sizes[split]).float().unsqueeze(1), torch.zeros(sizes[split]).long())

def raises(split):
    return {}["inside"]

def a_list(split):
    return [1, 2, 3]

def a_number(split):
    return 7

def several(split):
    return [({"a": torch.ones(2), "b": torch.zeros(2)}, 1)] * 3

def pairs(split):
    return [((torch.full((2, 3), i), numpy.float32(i)), float(i)) for i in range(5)]

def ragged(split):
    return [(numpy.zeros(2 + (i > 1)), 0) for i in range(4)]

def nothing(split):
    return None if split == "production" else load(split)

class Stream(IterableDataset):
    def __iter__(self):
        yield from ((torch.ones(1), 0) for _ in range(5))

def streamed(split):
    return Stream() if split == "train" else load(split)

def window():
    return TensorDataset(torch.ones(3, 1), torch.zeros(3).long())
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    name = f"data_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def make(function="load", **splits):
        raw = {"name": "mine", "model": "m:m", "data": f"{name}:{function}"}
        splits = {split: where.replace("HERE", name) for split, where in splits.items()}
        return Data(loading.parse(raw | {"splits": splits}, origin="test"))

    return make


def test_batches_come_in_order_and_stop_at_the_limit(data):
    batches = list(data().batches("train", batch_size=4, limit=6))
    assert [count(inputs) for inputs, _ in batches] == [4, 2]
    assert torch.cat([inputs for inputs, _ in batches]).flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_the_order_of_training_depends_on_the_seed_alone(data):
    def order(seed):
        torch.manual_seed(int(np.random.default_rng().integers(1000)))
        return [x.item() for inputs, _ in data().training_batches(batch_size=3, seed=seed) for x in inputs]

    assert order(1) == order(1) != order(2)


def test_there_need_be_no_production_data(data):
    assert data("load").production() is None
    assert data("nothing").production() is None


def test_a_missing_split_that_is_needed_is_named(data):
    with pytest.raises(InputError, match="has no production split"):
        data().split("production")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("raises", r"raises\('train'\) raised KeyError: 'inside' \(data_"),
        ("a_list", "an example of train is a int, not"),
        ("a_number", "the train split is a int, not a dataset"),
        ("absent", "has no 'absent'"),
    ],
)
def test_what_is_no_dataset_is_told(data, function, told):
    with pytest.raises(InputError, match=told):
        data(function).split("train")


def test_inputs_may_be_dicts(data):
    inputs = data("several").example(split="train")
    assert count(inputs) == 2
    assert call(lambda a, b: a - b, inputs).sum() == 4


def test_train_may_be_a_stream(data):
    batches = list(data("streamed").training_batches(batch_size=2, seed=0))
    assert [count(inputs) for inputs, _ in batches] == [2, 2, 1]


@pytest.mark.parametrize("function", ["load", "several", "pairs"])
def test_arrays_are_the_same_batches_as_tensors(data, function):
    loaded = data(function)
    found = list(loaded.arrays("train", batch_size=2, limit=4))
    expected = list(loaded.batches("train", batch_size=2, limit=4))
    assert len(found) == len(expected) == 2
    for actual, wanted in zip(found, expected, strict=True):
        for one, other in zip(actual, wanted, strict=True):
            assert isinstance(one, dict) == isinstance(other, dict)
            for array, tensor in zip(tensors(one), tensors(other), strict=True):
                assert isinstance(array, np.ndarray) and array.dtype == tensor.numpy().dtype
                np.testing.assert_array_equal(array, tensor.numpy())


def test_examples_that_make_no_batch_are_told(data):
    with pytest.raises(InputError, match="examples 0 to 3 do not make a batch"):
        list(data("ragged").arrays("test"))


def test_a_split_may_come_from_an_npz_file_or_a_function(data, tmp_path):
    np.savez(tmp_path / "window.npz", inputs=np.ones((5, 1)), targets=np.zeros(5, dtype=np.int64))
    window = data(production=str(tmp_path / "window.npz"))
    assert len(window.production()) == 5
    (inputs, targets), *_ = window.batches("production")
    assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
    assert len(data(production="HERE:window").production()) == 3


def test_a_file_that_is_no_window_is_told(data, tmp_path):
    path = tmp_path / "window.npz"
    for problem in ("missing", "not numpy", "ragged", "objects", "cut"):
        if problem == "not numpy":
            path.write_text("hello")
        elif problem == "ragged":
            np.savez(path, inputs=np.ones((5, 1)), targets=np.zeros(4))
        elif problem == "objects":
            np.savez(path, inputs=np.array([{}, {}], dtype=object), targets=np.zeros(2))
        elif problem == "cut":
            np.savez(path, inputs=np.ones((500, 1)), targets=np.zeros(500))
            path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(InputError, match="splits.production"):
            data(production=str(path)).production()


def test_a_loader_is_taken_as_it_is(data):
    loader = DataLoader(TensorDataset(torch.ones(4, 1), torch.zeros(4).long()), batch_size=4)
    made = data()
    made._load = lambda name: loader
    assert made.training_batches(batch_size=2, seed=0) is loader
