import itertools
import textwrap

import pytest

from reprune.config import loading

NUMBERS = itertools.count()

PROJECT = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

FEATURES, CLASSES = 4, 3

def build():
    return nn.Linear(FEATURES, CLASSES)

def tensors(split):
    order = ["train", "validation", "test", "production"].index(split)
    generator = torch.Generator().manual_seed(order)
    examples = {"train": 300, "validation": 60, "test": 120, "production": 90}[split]
    return torch.randn(examples, FEATURES, generator=generator), torch.arange(examples) % CLASSES

def load(split):
    return TensorDataset(*tensors(split))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a function that writes a project, with some of its functions replaced, and gives its workload."""

    def write(changes="", **keys):
        name = f"project_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(PROJECT + textwrap.dedent(changes))
        monkeypatch.syspath_prepend(tmp_path)
        raw = {"name": "mine", "model": f"{name}:build", "data": f"{name}:load"}
        raw |= {key: value.format(module=name) if isinstance(value, str) else value for key, value in keys.items()}
        return loading.parse(raw, origin="mine.yaml")

    return write
