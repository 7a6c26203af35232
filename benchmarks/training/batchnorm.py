"""Measure how much accuracy batch-norm re-estimation recovers, and its cost.

OMP_NUM_THREADS=1 python -m benchmarks.training.batchnorm      # writes batchnorm.json
"""

import copy
import json
import time
from pathlib import Path

import torch

from reprune.config.loading import load
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.pruning import bundle
from reprune.pruning.batchnorm import reestimate
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.prune import best, cut
from reprune.training.evaluation import scores
from reprune.training.trainer import Settings, seed_everything
from reprune.training.workload_training import learn

EPOCHS, EXAMPLES, RATIOS, SEEDS = 15, 512, (0.25, 0.5), (0, 1)
FOLDER = Path(__file__).parent


def main():
    """Train the digits, cut every group by the same share, and recover in each way."""
    workload = load("digits")
    data, train = Data(workload), workload.train
    task = tasks.of(workload, data)
    rows = []
    for seed in SEEDS:
        seed_everything(seed)
        dense = bundle.build(workload.model, key="model")
        how = {"optimizer": train.optimizer, "weight_decay": train.weight_decay, "seed": seed}
        learn(workload, data, task, dense, Settings(epochs=EPOCHS, learning_rate=train.learning_rate, **how))

        def accuracy(model):
            return float(scores(model, data.batches("test"), task).mean())

        for ratio in RATIOS:
            batches = _some(data, seed)
            analysis = analyze(dense, data.example())
            saliency = score(dense, analysis, "taylor", batches, lambda o, t: task.loss(o, t).mean())
            keep = {g.name: best(saliency[g.name], max(round(g.width * (1 - ratio)), 1)) for g in analysis.groups}
            raw, _ = cut(dense, analysis, keep)
            started = time.process_time()
            again = reestimate(copy.deepcopy(raw), (inputs for inputs, _ in batches))
            cost = time.process_time() - started
            row = {"seed": seed, "ratio": ratio, "dense": accuracy(dense), "cut": accuracy(raw)}
            row |= {"reestimated": accuracy(again), "reestimation_cpu_seconds": cost}
            for name, start in (("cut", raw), ("reestimated", again)):
                for epochs in (1, 3):
                    model = copy.deepcopy(start)
                    settings = Settings(epochs=epochs, learning_rate=train.learning_rate / 3, **how)
                    started = time.process_time()
                    learn(workload, data, task, model, settings, teacher=copy.deepcopy(dense))
                    row[f"{name}_then_{epochs}_epochs"] = accuracy(model)
                    row[f"{epochs}_epochs_cpu_seconds"] = time.process_time() - started
            rows.append(row)
            print({key: round(value, 4) for key, value in row.items()}, flush=True)
            (FOLDER / "batchnorm.json").write_text(json.dumps(rows, indent=2) + "\n")


def _some(data, seed):
    torch.manual_seed(seed)
    taken, examples = [], 0
    for batch in data.training_batches(batch_size=64, seed=seed):
        taken.append(batch)
        examples += len(batch[1])
        if examples >= EXAMPLES:
            break
    return taken


if __name__ == "__main__":
    main()
