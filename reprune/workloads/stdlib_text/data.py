"""Windows of bytes from the sources of Python's standard library.

Whole modules are learnt from or held out. The held-out windows are dealt in turn to the other splits: modules differ so
much from each other that splits of whole modules would, rightly, count as drifted.
"""

import sysconfig
import zlib
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from reprune.workloads.stdlib_text.model import CONTEXT

TRAINING_WINDOWS, HELD_OUT_WINDOWS = 6000, 1600
TRAINING_MODULES = 70
"""Of every hundred."""
TURNS = {"validation": (0,), "test": (1, 3), "production": (2,)}
"""Which of every four held-out windows a split has."""


@cache
def _text(*, training: bool) -> bytes:
    """Return the modules of a side, chosen by the checksum of their names, so that any Python gives about the same."""
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    chosen = (path for path in modules if (zlib.crc32(path.name.encode()) % 100 < TRAINING_MODULES) == training)
    return b"\n".join(path.read_bytes() for path in chosen)


def load(split: str) -> Dataset[tuple[Tensor, ...]]:
    """Return evenly spaced windows ``[64]`` of a split's text, and the same windows moved on by one byte."""
    training = split == "train"
    text = torch.frombuffer(bytearray(_text(training=training)), dtype=torch.uint8).long()
    starts = torch.linspace(0, len(text) - CONTEXT - 1, TRAINING_WINDOWS if training else HELD_OUT_WINDOWS).long()
    chosen = range(len(starts)) if training else (i for i in range(len(starts)) if i % 4 in TURNS[split])
    windows = torch.stack([text[start : start + CONTEXT + 1] for start in starts[list(chosen)].tolist()])
    return TensorDataset(windows[:, :-1], windows[:, 1:])
