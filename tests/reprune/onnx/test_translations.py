from importlib import import_module

import torch
from torch import nn

from reprune.inference.onnx import translation_cache
from reprune.inference.onnx.export import export


def test_translations_are_read_once_and_the_file_is_the_same_to_the_byte(tmp_path, monkeypatch):
    registry = import_module(translation_cache.HOME).ONNXRegistry
    read, reads = registry.from_torchlib.__func__, []

    def counted(cls, **opset):
        reads.append(opset)
        return read(cls, **opset)

    monkeypatch.setattr(registry, "from_torchlib", classmethod(counted))
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
    first, again = (export(model, x, tmp_path / name) for name in ("first.onnx", "again.onnx"))
    assert first.sha256 == again.sha256
    assert len(reads) == 1
    assert registry.__dict__["from_torchlib"].__func__ is counted, "torch is left as it was"


def test_without_a_torch_that_has_them_everything_is_exported_as_before(tmp_path, monkeypatch):
    monkeypatch.setattr(translation_cache, "HOME", "torch.onnx.nowhere")
    assert export(nn.Linear(4, 3), torch.randn(2, 4), tmp_path / "model.onnx").size_bytes
