"""Drift by itself, as a CI job asks for it: a window and what it is compared with, however they are named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reprune.config.drift import DriftPolicy
from reprune.config.workload import Workload
from reprune.drift import summary_file, window_reader
from reprune.drift.drift_report import DriftReport
from reprune.drift.reference import is_reference
from reprune.drift.two_sample import judge, watched
from reprune.drift.window_summary import Summary
from reprune.errors import InputError
from reprune.inference.champion import ONNX, fetch_champion
from reprune.registry.registry import Registry, workloads
from reprune.storage.base import Store
from reprune.storage.uri import fetch_file

REFERENCE = "reference.safetensors"
"""What a version in the registry keeps its reference in."""


@dataclass(frozen=True)
class Comparison:
    """What was compared, and what was found.

    Attributes:
        reference: In words.
        window: In words.
        report: Verdict, tests and distributions.
    """

    reference: str
    window: str
    report: DriftReport


def compare(
    reference: str,
    window: str,
    policy: DriftPolicy,
    *,
    store: Store,
    scratch: Path,
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compare a window in files with a reference.

    Args:
        reference: See `load_reference`.
        window: A file or folder, here or on S3; its layout is described in `windows`.
        policy: False-alarm rate, guard of small samples, what is watched.
        store: Where workloads are looked up.
        scratch: A folder for what is fetched.
        ignore: Columns to leave out.
        seed: Seed of the permutations.

    Raises:
        InputError: One of them cannot be read, or they do not go together.
        IntegrityError: A version's reference is damaged.
    """
    known = watched(load_reference(reference, store, scratch / "reference", ignore=ignore), policy)
    known = known.only([field.name for field in known.frame.fields if field.name not in ignore])
    found = window_reader.summarize_window(window_reader.find(window, scratch / "window"), known.frame, ignore=ignore)
    return Comparison(reference, window, judge(known, found.summary, policy, seed=seed, notes=found.notes))


def load_reference(name: str, store: Store, scratch: Path, *, ignore: Sequence[str] = ()) -> Summary:
    """Return the reference that a name stands for.

    Args:
        name: A workload of the store, for its champion; ``WORKLOAD@VERSION``; a summary or a champion's reference as a
            ``.safetensors`` file; or data, as a file or folder.
        store: Where workloads are looked up.
        scratch: A folder for what is fetched.
        ignore: Columns of data to pass over.

    Raises:
        InputError: There is no such thing, or it cannot be read.
        IntegrityError: A champion's reference is damaged.
    """
    workload, at, version = name.partition("@")
    if "/" not in name and not Path(name).exists() and workload in workloads(store):
        if not at:
            return champions_reference(workload, store, scratch)
        folder = Registry(store, workload).fetch(version, scratch / "version", only=[REFERENCE])
        return _of_champion(folder / REFERENCE)
    if not name.endswith(".safetensors"):
        if "/" not in name and not Path(name).exists():
            raise InputError(
                f"There is no file or folder {name}, and no workload {name} with a champion in {store.uri}.",
                "Name data, a .safetensors reference, or a workload that has a champion (--store).",
            )
        return window_reader.summarize_reference(window_reader.find(name, scratch), ignore=ignore)
    scratch.mkdir(parents=True, exist_ok=True)
    path = fetch_file(name, scratch)
    if not path.is_file():
        raise InputError(f"There is no file {name}.", "Write a reference with `reprune reference`.")
    if summary_file.is_summary(path):
        return summary_file.load(path)
    if not is_reference(path):
        raise InputError(
            f"{name} cannot be read: it is neither a summary nor a champion's reference.",
            "Write one with `reprune reference`.",
        )
    return _of_champion(path)


def champions_reference(workload: str, store: Store, scratch: Path) -> Summary:
    """Return the reference of a workload's champion.

    Raises:
        InputError: There is no champion.
        IntegrityError: The reference is damaged.
    """
    fetch_champion(Registry(store, workload), scratch / "version", only=[REFERENCE])
    return _of_champion(scratch / "version" / REFERENCE)


def _of_champion(path: Path) -> Summary:
    from reprune.drift import detect
    from reprune.drift.reference import Reference

    return detect.summary(Reference.load(path).sample)


def compare_production(
    workload: Workload, policy: DriftPolicy, *, store: Store, scratch: Path, window: str | None = None
) -> Comparison:
    """Compare a workload's production split with its champion's reference, as the pipeline's first step does.

    Args:
        workload: Names data, task and champion.
        policy: False-alarm rate, guard of small samples, what is watched.
        store: Where the champion is.
        scratch: A folder for what is fetched.
        window: An ``.npz`` file of ``inputs`` and ``targets`` in place of the production split.

    Raises:
        InputError: There is no champion yet, or no production data.
        IntegrityError: The champion's reference is missing, damaged, or of another model.
    """
    from reprune.data import signals
    from reprune.data.datasets import Data
    from reprune.drift.dataset import DatasetExamples
    from reprune.drift.detect import detect
    from reprune.drift.reference import Reference

    data = Data(
        workload.model_copy(update={"splits": workload.splits | {"production": window}}) if window else workload
    )
    production = data.production()
    if production is None:
        raise InputError(f"{workload.name} has no production split.", "Give one under `splits`, or name a --window.")
    folder = scratch / "version"
    champion = fetch_champion(Registry(store, workload.name), folder, only=[ONNX, REFERENCE])
    report = detect(
        Reference.load(folder / REFERENCE),
        DatasetExamples(production),
        folder / ONNX,
        signals.find(workload.task),
        policy,
        seed=workload.seed,
    )
    return Comparison(f"{workload.name}@{champion.short}", window or "the production split", report)
