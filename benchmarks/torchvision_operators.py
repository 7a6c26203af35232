"""Make torchvision's wheel, built for CUDA, work with a CPU build of torch."""

import torch

_LIBRARIES: list[torch.library.Library] = []
"""Operators exist as long as their library."""


def declare() -> None:
    """Declare the two operators that torchvision's import looks up.

    No benchmark calls them. Call this before anything imports torchvision.
    """
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}() -> ()")
        _LIBRARIES.append(library)
