"""Windows judged together across looks and restarts: the summaries of the latest few are kept in the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from reprune import hashing
from reprune.config.drift import DriftPolicy
from reprune.drift import summary_file
from reprune.drift.monitor.monitor_state import ROOT
from reprune.drift.sequential import Look, Recent
from reprune.drift.window_summary import Summary
from reprune.errors import InputError
from reprune.storage.base import NotFoundError, Store


@dataclass(frozen=True)
class Added:
    """What came of one more window.

    Attributes:
        look: The longest look that found drift, or else that at the window alone.
        kept: Keys of the summaries to go on from; empty where none waits.
    """

    look: Look
    kept: tuple[str, ...]


def add(
    store: Store,
    workload: str,
    kept: Sequence[str],
    reference: Summary,
    window: Summary,
    policy: DriftPolicy,
    *,
    name: str,
    seed: int,
) -> Added:
    """Judge one more window, alone and with those before it.

    Args:
        store: Where summaries are kept.
        workload: Name of the workload.
        kept: What came of the window before.
        reference: Of the champion.
        window: Summarised for it; windows of other columns than those before start anew.
        policy: Its false-alarm rate is that of a window, over all looks.
        name: Of the window for this champion.
        seed: Seed of the permutations.
    """
    try:
        before = Recent(tuple(_load(store, key) for key in kept))
    except (NotFoundError, InputError):
        before = Recent()  # deleted or damaged: the windows from here on are judged together
    if any(block is not None and block.frame != window.frame for block in before.blocks):
        before = Recent()
    after, looks = before.add(reference, window, policy, seed=seed)
    unchanged = {id(block): key for block, key in zip(before.blocks, kept, strict=False)}
    place = f"{_folder(workload)}{hashing.of_bytes(name.encode())[:16]}"
    keys = tuple(
        "" if block is None else unchanged.get(id(block)) or _save(store, f"{place}-{2**level}.safetensors", block)
        for level, block in enumerate(after.blocks)
    )
    alarmed = [look for look in looks if look.report.drifted]
    return Added((alarmed or looks[:1])[-1], keys)


def tidy(store: Store, workload: str, kept: Sequence[str]) -> None:
    """Delete the summaries that nothing goes on from any more."""
    for key in list(store.list(_folder(workload))):
        if key not in kept:
            store.delete(key)


def _folder(workload: str) -> str:
    return f"{ROOT}/{workload}/recent/"


def _save(store: Store, key: str, summary: Summary) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "summary.safetensors"
        summary_file.save(summary, path)
        store.upload(path, key)
    return key


def _load(store: Store, key: str) -> Summary | None:
    if not key:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "summary.safetensors"
        store.download(key, path)
        return summary_file.load(path)
