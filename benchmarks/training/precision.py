"""Measure bfloat16 against float32 on this processor.

    OMP_NUM_THREADS=1 python -m benchmarks.training.precision      # writes precision.json

Forward and backward passes alternate between the two. CPU times are compared, since other work on the machine hardly
affects them.
"""

import json
import statistics
import time
from pathlib import Path

import torch

from reprune.config.loading import load
from reprune.data import tasks
from reprune.data.datasets import Data
from reprune.data.model_io import call
from reprune.pruning import bundle
from reprune.training.autocast import autocast

STEPS = 15
FOLDER = Path(__file__).parent


def main():
    """Measure a convolutional network and a transformer."""
    found = {"processor": _processor()}
    for name in ("digits", "stdlib-text"):
        workload = load(name)
        data = Data(workload)
        task, model = tasks.of(workload, data), bundle.build(workload.model, key="model")
        inputs, targets = next(iter(data.training_batches(batch_size=workload.train.batch_size, seed=0)))
        seconds = {"float32": [], "bfloat16": []}
        for _ in range(STEPS):
            for precision, taken in seconds.items():
                started = time.process_time()
                with autocast(precision):
                    task.loss(call(model, inputs), targets).mean().backward()
                taken.append(time.process_time() - started)
        medians = {precision: statistics.median(taken[3:]) for precision, taken in seconds.items()}
        found[name] = medians | {"ratio": medians["bfloat16"] / medians["float32"]}
        print(name, found[name], flush=True)
    (FOLDER / "precision.json").write_text(json.dumps(found, indent=2) + "\n")


def _processor():
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    instructions = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return {"instructions": instructions, "torch": torch.__version__}


if __name__ == "__main__":
    main()
