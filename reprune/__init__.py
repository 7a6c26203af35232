"""Keep neural networks pruned for as long as they are in production.

What a user of the library needs is here, imported when first used, since torch alone takes seconds::

    import reprune

    champion = reprune.champion("digits")  # from ./reprune-store, or store="s3://bucket/prefix"
    model = champion.torch()  # a torch.nn.Module in eval mode; allow=["my_project"] for a model of your own
    session = champion.onnx()  # an onnxruntime.InferenceSession
"""

import importlib

TYPE_CHECKING = False  # typing is not imported: with python -m, it would be looked for in the working folder first
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "Recipe": "reprune.pruning.recipe",
    "RepruneError": "reprune.errors",
    "RepruneWarning": "reprune.errors",
    "analyze": "reprune.pruning.graph.analyze",
    "champion": "reprune.inference.champion",
    "load": "reprune.pruning.bundle",
    "open_store": "reprune.storage.uri",
    "prune": "reprune.pruning.prune",
    "replay": "reprune.pruning.surgery",
    "save": "reprune.pruning.bundle",
}

__all__ = ["__version__", *sorted(_PLACES)]


def __getattr__(name: str) -> "Any":
    if name not in _PLACES:
        raise AttributeError(f"module 'reprune' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__
