import shutil

import pytest
import torch

from reprune.errors import StoreError
from reprune.storage.checkpoints import Checkpoints, clear
from reprune.storage.local import FolderStore
from reprune.storage.uri import open_store
from reprune.training.trainer import Settings
from tests.reprune.training.helpers import assert_same, checkpoints, network, train

SETTINGS = Settings(epochs=4, learning_rate=0.05)


def files(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_the_last_two_generations_are_kept(tmp_path):
    store = open_store(str(tmp_path))
    kept = Checkpoints(store, "test", "a" * 64)
    for number in range(5):
        kept.save("fit", {"x": torch.tensor(number)}, {"number": number})
    assert len(list(store.list("checkpoints/"))) == 2
    tensors, state = kept.load("fit")
    assert tensors["x"] == 4 and state == {"number": 4}
    assert kept.load("other") is None
    clear(store, "test")
    assert kept.load("fit") is None


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(tmp_path, damage, caplog):
    first = network()
    train(first, SETTINGS, checkpoints=checkpoints(tmp_path))
    newest = files(tmp_path)[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes({"flipped": data, "truncated": data[:-100], "empty": b""}[damage])
    again, epochs = network(), []
    train(again, SETTINGS, checkpoints=checkpoints(tmp_path), on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert epochs == [4] and "not what its digest says" in caplog.text
    assert_same(first, again)


def test_with_all_of_them_damaged_the_work_is_done_again(tmp_path):
    first, again, epochs = network(), network(), []
    train(first, SETTINGS, checkpoints=checkpoints(tmp_path))
    for path in files(tmp_path):
        path.write_bytes(b"nothing")
    train(again, SETTINGS, checkpoints=checkpoints(tmp_path), on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert epochs == [1, 2, 3, 4]
    assert_same(first, again)


def test_a_checkpoint_of_other_work_is_refused(tmp_path, caplog):
    train(network(), SETTINGS, checkpoints=checkpoints(tmp_path, "b"))
    other = files(tmp_path)[-1].parent
    shutil.copytree(other, other.parents[1] / ("a" * 16) / "fit")
    epochs = []
    train(network(), SETTINGS, checkpoints=checkpoints(tmp_path), on_epoch=epochs.append)
    assert len(epochs) == 4 and "belongs to other work" in caplog.text


class Failing(FolderStore):
    """A folder that cannot be written for so many attempts, from a moment on."""

    def __init__(self, root, after, failures):
        super().__init__(root)
        self.after = after
        self.failures = failures

    def put_pieces(self, key, pieces):
        self.after -= 1
        if self.after < 0 and self.failures:
            self.failures -= 1
            raise StoreError("The store hangs up.", "Check it.")
        super().put_pieces(key, pieces)


@pytest.fixture
def pauses(monkeypatch):
    taken = []
    monkeypatch.setattr("reprune.storage.retry.time.sleep", taken.append)
    return taken


def test_a_store_that_fails_for_a_while_is_tried_again(tmp_path, pauses):
    store = Failing(tmp_path, after=1, failures=3)
    history = train(network(), SETTINGS, checkpoints=Checkpoints(store, "test", "a" * 64))
    assert len(history.epochs) == 4
    assert len(pauses) == 3 and pauses == sorted(pauses) and pauses[-1] > 4 * pauses[0]


def test_a_store_that_fails_for_good_ends_the_training_with_what_was_finished_kept(tmp_path, pauses):
    store = Failing(tmp_path, after=2, failures=1000)
    with pytest.raises(StoreError, match="hangs up"):
        train(network(), SETTINGS, checkpoints=Checkpoints(store, "test", "a" * 64))
    epochs = []
    train(network(), SETTINGS, checkpoints=checkpoints(tmp_path), on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert epochs == [3, 4]


def test_tied_weights_are_kept(tmp_path):
    shared = torch.arange(4.0)
    kept = Checkpoints(open_store(str(tmp_path)), "test", "a" * 64)
    kept.save("tied", {"a": shared, "b": shared, "c": shared.view(2, 2).T}, {})
    tensors, _ = kept.load("tied")
    assert torch.equal(tensors["a"], tensors["b"]) and torch.equal(tensors["c"], shared.view(2, 2).T)
