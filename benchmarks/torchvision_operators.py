"""Let torchvision's wheel, built for CUDA, import beside a CPU build of torch."""

import torch

_LIBRARIES: list[torch.library.Library] = []
"""Operators exist as long as their library."""


def declare() -> None:
    """Declare the two operators that torchvision's import looks up; no benchmark calls them.

    Call it before anything imports torchvision.
    """
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}() -> ()")
        _LIBRARIES.append(library)
