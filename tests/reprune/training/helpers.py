"""A small problem to train on; run as a program, it trains until it is done or killed (STORE EPOCHS)."""

import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from reprune.data.tasks import Classification
from reprune.errors import RepruneError
from reprune.storage.checkpoints import Checkpoints
from reprune.storage.uri import open_store
from reprune.training.trainer import Settings, fit

TASK = Classification()


class Noisy(Dataset):
    """Examples that are different each time they are asked for, from torch's own generator."""

    def __init__(self, data, seconds=0.0):
        self.data = data
        self.seconds = seconds

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        time.sleep(self.seconds)
        inputs, target = self.data[index]
        return inputs + 0.1 * torch.randn_like(inputs), target


def problem(examples=96):
    inputs = torch.randn(examples, 5, generator=torch.Generator().manual_seed(1))
    return TensorDataset(inputs, (inputs.sum(dim=1) > 0).long())


def network(dropout=0.3):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 2))


def train(model, settings, *, data=None, batch_size=16, loss=None, batches=None, **options):
    data = data or problem()
    held_out = problem()

    def shuffled(seed):
        return DataLoader(data, batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed))

    return fit(
        model,
        batches or shuffled,
        loss or (lambda outputs, targets, _: TASK.loss(outputs, targets)),
        settings,
        validate=lambda trained: float(TASK.score(trained.eval()(held_out.tensors[0]), held_out.tensors[1]).mean()),
        **options,
    )


def checkpoints(folder, key="a"):
    return Checkpoints(open_store(str(folder)), "test", key * 64)


def assert_same(first, second):
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


if __name__ == "__main__":
    store, epochs = sys.argv[1:]
    try:
        train(
            network(),
            Settings(epochs=int(epochs), learning_rate=0.05, seed=7),
            data=Noisy(problem(), seconds=0.0005),
            checkpoints=checkpoints(store),
            on_epoch=lambda epoch: print(epoch.epoch, flush=True),
        )
    except RepruneError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
