"""torch's translations of its operators to ONNX, kept for the life of the process.

The exporter parses the source of about 500 translations anew for every model, which is more than half of the time that
a small model's export takes. They depend on nothing but the opset.
"""

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

HOME = "torch.onnx._internal.exporter._registration"
"""Not part of torch's interface: where a torch has nothing of that name, translations are parsed as it pleases."""


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within this context the exporter reads the translations of an opset once; it never writes to them."""
    try:
        registry = importlib.import_module(HOME).ONNXRegistry
        own = registry.__dict__["from_torchlib"]
    except (ImportError, AttributeError, KeyError):
        yield
        return
    registry.from_torchlib = staticmethod(_remembered(registry.from_torchlib))
    try:
        yield
    finally:
        registry.from_torchlib = own


@functools.cache
def _remembered(read: Callable[..., Any]) -> Callable[..., Any]:
    return functools.cache(read)
