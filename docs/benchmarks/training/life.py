"""One life of a training that may end at any moment: ``life.py STORE EPOCHS``; tells what it did as lines of JSON."""

import json
import sys

from reprune import bundle, digest, tasks
from reprune.data import Data
from reprune.store import open_store
from reprune.training.checkpoint import Checkpoints
from reprune.training.fit import Settings, seed_everything
from reprune.training.lesson import learn
from reprune.workload import load


def tell(**fields):
    """Write a line at once."""
    print(json.dumps(fields), flush=True)


def main():
    """Train the shipped digits as the ``train`` step does, and tell each epoch once it is kept."""
    store, epochs = sys.argv[1], int(sys.argv[2])
    workload = load("digits")
    data, train = Data(workload), workload.train
    seed_everything(workload.seed)
    model = bundle.build(workload.model, key="model")
    settings = Settings(
        epochs=epochs,
        learning_rate=train.learning_rate,
        optimizer=train.optimizer,
        weight_decay=train.weight_decay,
        seed=workload.seed,
    )
    tell(event="started")
    history = learn(
        workload,
        data,
        tasks.of(workload, data),
        model,
        settings,
        checkpoints=Checkpoints(open_store(store), "digits", "a" * 64),
        on_epoch=lambda epoch: tell(event="epoch", epoch=epoch.epoch, seconds=epoch.seconds),
    )
    raw = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    losses = [epoch.loss for epoch in history.epochs]
    tell(event="finished", weights_sha256=digest.of_bytes(raw), losses_sha256=digest.of_json(losses))


if __name__ == "__main__":
    main()
