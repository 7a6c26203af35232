"""Where workloads are read from: those that are shipped, by name, and YAML files."""

import difflib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

from reprune import text_files
from reprune.config.validation_errors import validated
from reprune.config.workload import ENTRY_POINT, Evaluation, Workload
from reprune.errors import InputError

SHIPPED = "reprune.workloads"


def shipped() -> list[str]:
    """Return the names of the workloads that come with reprune."""
    folder = resources.files(SHIPPED)
    return sorted(item.name.replace("_", "-") for item in folder.iterdir() if (item / "workload.yaml").is_file())


def load(reference: str) -> Workload:
    """Return a workload by the name of a shipped one, or from a YAML file.

    Raises:
        InputError: No such workload or file, or its contents are not a workload.
    """
    return parse(_raw(reference), origin=reference)


def load_evaluation(reference: str) -> Evaluation:
    """Return what models are judged by: a workload as in `load`, or a YAML file with those of its keys alone.

    Raises:
        InputError: No such workload or file, or its contents are neither.
    """
    raw = _raw(reference)
    if isinstance(raw, dict) and "model" not in raw:
        return validated(Evaluation, raw, origin=reference)
    return parse(raw, origin=reference)


def parse(raw: Any, *, origin: str) -> Workload:
    """Validate the contents of a workload file.

    Args:
        raw: The parsed YAML or JSON.
        origin: Where it comes from, for messages.

    Raises:
        InputError: Naming every offending key, its value and the remedy.
    """
    return validated(Workload, raw, origin=origin)


def _raw(reference: str) -> Any:
    if reference in shipped():
        text = (resources.files(SHIPPED) / reference.replace("-", "_") / "workload.yaml").read_text()
        return text_files.parse_yaml(text, reference)
    if not os.path.isfile(reference):
        guess = difflib.get_close_matches(reference, shipped(), n=1)
        hint = f"did you mean {guess[0]}? Otherwise " if guess else ""
        raise InputError(
            f"There is no workload {reference!r}: it is neither a file nor one of {', '.join(shipped())}.",
            f"{hint}name a YAML file; `reprune init` writes one to start from.",
        )
    raw = text_files.read_yaml(reference)
    if isinstance(raw, dict):
        folder = Path(reference).resolve().parent
        raw["code"] = _absolute(folder, str(raw.get("code") or "."))
        if raw.get("weights") is not None:
            raw["weights"] = _beside(folder, raw["weights"])
        if isinstance(raw.get("splits"), dict):
            raw["splits"] = {split: _beside(folder, where) for split, where in raw["splits"].items()}
        if isinstance(raw.get("expectations"), dict):
            raw["expectations"] = {split: _suite(folder, split, it) for split, it in raw["expectations"].items()}
    return raw


def _suite(folder: Path, split: str, suite: Any) -> Any:
    """Read the suite of a split where a file is named."""
    if not isinstance(suite, str):
        return suite
    path = folder / suite
    return text_files.read_json(
        path,
        name=f"expectations.{split}: {path}",
        remedy="Name a JSON file; `reprune expectations` writes one for each split.",
    )


def schema() -> dict[str, Any]:
    """Return the JSON schema of a workload file, for editors."""
    generated = Workload.model_json_schema(mode="validation")
    return json.loads(json.dumps(generated)) | {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def _beside(folder: Path, where: Any) -> Any:
    """Make a file name absolute; leave URIs and entry points as they are."""
    if not isinstance(where, str) or "://" in where or ENTRY_POINT.match(where):
        return where
    return _absolute(folder, where)


def _absolute(folder: Path, where: str) -> str:
    """Return an absolute path; it need not exist, but the name must be one that a file can have."""
    path = folder / where
    try:
        path.exists()
        return str(path.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte in it, links that lead in a circle
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{where!r:.80} is not the name of a file: {said}.", "Name one beside the workload.") from None
