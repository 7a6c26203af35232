"""Where a model comes from: what one would need to make it again, and to tell whether it is still the same."""

import platform
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from reprune import __version__, hashing
from reprune.config import entry_points
from reprune.config.workload import Workload


def lineage(workload: Workload, data_digest: str) -> dict[str, Any]:
    """Return the lineage of whatever this workload makes here and now.

    Args:
        workload: The workload.
        data_digest: The sha256 over its data.
    """
    return {
        "workload": workload.name,
        "entry_points": {"model": workload.model, "data": workload.data},
        "data_digest": data_digest,
        "code_digest": code_digest(workload),
        "weights": workload.weights,
        "seed": workload.seed,
        "versions": {
            "reprune": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    }


def code_digest(workload: Workload) -> str:
    """Return the sha256 over the modules that the model and the data really come from.

    These are the modules, imported by now, below the workload's own folder; for an installed workload, those of the
    package that the entry points stand in.
    """
    for entry_point, key in ((workload.model, "model"), (workload.data, "data")):
        entry_points.resolve(entry_point, key=key)
    packages = {
        entry.partition(":")[0].rpartition(".")[0] or entry.partition(":")[0]
        for entry in (workload.model, workload.data)
    }
    root = Path(workload.code).resolve() if workload.code else None
    sources = {}
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or ".")
        if not (file.is_absolute() and file.suffix == ".py" and file.is_file()):
            continue  # built in, compiled, or made up by torch
        inside = _is_below(file, root) if root else name.startswith(tuple(packages))
        if inside:
            sources[name] = hashing.of_file(file)
    return hashing.of_json(sources)


def _is_below(file: Path, root: Path) -> bool:
    """Return whether a source is the user's own: below the folder, and not in an environment that lies there too."""
    return file.resolve().is_relative_to(root) and "site-packages" not in file.parts
