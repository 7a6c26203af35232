"""Import every benchmark script without optional packages, and print problems.

Runs in a separate process, since an audit hook cannot be removed. Prints a JSON object: the problems of each module.
"""

import contextlib
import importlib
import importlib.abc
import io
import json
import sys
from pathlib import Path

OPTIONAL = ("torch_pruning", "torchvision", "timm", "evidently", "docker")
STARTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "socket.connect")
LIBRARIES = (
    "kfp",
    "matplotlib.pyplot",
    "onnxruntime.quantization",
    "scipy.stats",
    "sklearn.datasets",
    "torch",
    "transformers",
)
"""Imported first, so that a library's own import is not counted as the script's."""


class Missing(importlib.abc.MetaPathFinder):
    """Refuses the optional packages, even if they are installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(root):
    sys.dont_write_bytecode = True
    for name in LIBRARIES:
        importlib.import_module(name)
    sys.meta_path.insert(0, Missing())
    acts = []
    sys.addaudithook(lambda event, arguments: acts.append(described(event, arguments)))
    found = {}
    for path in sorted((root / "benchmarks").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        acts.clear()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                importlib.import_module(module)
                problems = []
            except Exception as error:
                problems = [f"{type(error).__name__}: {error}"]
        problems += [act for act in acts if act]
        found[module] = problems + (["prints"] if printed.getvalue() else [])
    print(json.dumps(found))


def described(event, arguments):
    """Return an event that no import needs; None for all others."""
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        return f"writes {arguments[0]}"
    return f"{event} {arguments[:2]}" if event in STARTS else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
