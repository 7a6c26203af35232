"""What a workload names of this machine's disk; a path that is not here is one of the image's."""

from pathlib import Path

from reprune.config.workload import Workload
from reprune.errors import InputError


def named(workload: Workload) -> dict[str, str]:
    """Return what the workload names outside its code, weights and splits, by its keys."""
    found = {"weights": workload.weights} | {f"splits.{split}": where for split, where in workload.splits.items()}
    return {key: where for key, where in found.items() if where is not None}


def on_this_machine(workload: Workload) -> dict[str, Path]:
    """Return the folder of code, and the weights and splits in files, that are on this machine, by their keys.

    Raises:
        InputError: A file is missing that can only be meant to be here, beside the code.
    """
    code = Path(workload.code) if workload.code and Path(workload.code).is_dir() else None
    found = {"code": code} if code else {}
    for key, where in named(workload).items():
        if ":" in where:  # a URI or an entry point
            continue
        if Path(where).exists():
            found[key] = Path(where)
        elif code and Path(where).is_relative_to(code):
            raise _missing(key, where)
    return found


def check(workload: Workload) -> None:
    """Check that all is here that the workload names, as it has to be where steps are processes of this machine.

    Raises:
        InputError: A file is missing.
    """
    for key, where in named(workload).items():
        if ":" not in where and not Path(where).exists():
            raise _missing(key, where)


def _missing(key: str, where: str) -> InputError:
    return InputError(f"{key}: there is no file {where}.", "Name a file beside the workload's, or a URI.")
